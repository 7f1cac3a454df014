//! Roles and the doors between them (design section 4).

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

#[test]
fn each_scene_is_in_its_role() {
    assert_eq!(backup().role(), RoleName::Backup);
    assert_eq!(candidate().0.role(), RoleName::Candidate);
    assert_eq!(master().role(), RoleName::Master);
    assert_eq!(holding().role(), RoleName::Holding);
    assert_eq!(witness().role(), RoleName::None);
}
