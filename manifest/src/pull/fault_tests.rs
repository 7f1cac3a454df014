//! Disks that are full, read-only, or not ours: the old tree stays whole.
//!
//! Each runs in a process of its own, with mounts of its own, which takes root.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use super::fixture::{World, directories, example, files, write};
use super::*;

/// Runs `child` as the case, after the shell commands; `$W` is the world's directory.
fn run(world: &World, case: &str, commands: &str, prefix: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: {case}: it takes root");
        return;
    }
    let script = format!("set -e; {commands}; exec {} \"$@\"", prefix.join(" "));
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "pull::fault_tests::child", "--ignored", "--nocapture"])
        .env("W", &world.base)
        .env("VIPWARD_PULL_CASE", case)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{case}: {told}{errors}");
}

#[test]
#[ignore = "the other tests here run it, in a process of its own"]
fn child() {
    let world = World::at(Path::new(&env::var("W").unwrap()));
    let before = (files(&world.own()), directories(&world.own()));
    match env::var("VIPWARD_PULL_CASE").unwrap().as_str() {
        "full" => expect(world.swap(), "No space left on device"),
        "read-only" => expect(world.swap(), "Read-only file system"),
        "not permitted" => expect(world.swap(), "mode and owner: Operation not permitted"),
        "not writable" => expect(world.swap(), "Permission denied"),
        "another mount" => expect(world.swap(), "cannot put "),
        "full later" => full_later(&world),
        case => panic!("{case}?"),
    }
    assert_eq!((files(&world.own()), directories(&world.own())), before);
    world.assert_clean();
}

fn expect(outcome: Result<Swapped, PullError>, sentence: &str) {
    match outcome {
        Err(PullError::Failed { what, source }) => {
            let told = format!("{what}: {source}");
            assert!(told.contains(sentence), "{told}");
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it swapped"),
    }
}

/// The state directory gets full between the stages.
fn full_later(world: &World) {
    let filler = world.state().join("filler");
    let fill = || {
        let mut size = 1 << 20;
        while size > 0 {
            let all = fs::read(&filler).unwrap_or_default().len() + size;
            if fs::write(&filler, vec![0; all]).is_err() {
                fs::write(&filler, vec![0; all - size]).unwrap();
                size /= 2;
            }
        }
    };
    let before = files(&world.own());
    // Before the exchange is recorded,
    let mut staging = Staging::begin(world.plan(), world.setup()).unwrap();
    for wanted in staging.wanted() {
        staging.add(&wanted.name, &world.fetch(&wanted.name)).unwrap();
    }
    fill();
    let Err(PullError::Failed { .. }) = staging.finish() else { panic!("it was recorded") };
    fs::remove_file(&filler).unwrap();
    world.assert_clean();
    // and before the commit is, when the balancer has loaded the new tree.
    let mut swapped = world.swap().unwrap();
    swapped.reloading().unwrap();
    fill();
    let Err(PullError::Failed { .. }) = swapped.commit() else { panic!("it was recorded") };
    assert_eq!(files(&world.own()), before);
    // The reload is owed, now and when there is room again, until it is done.
    let owed = Recovered::RolledBack(RolledBack { reload: true, displaced: vec![] });
    assert_eq!(recover(&world.state()).unwrap(), owed);
    fs::remove_file(&filler).unwrap();
    assert_eq!(recover(&world.state()).unwrap(), owed);
    settled(&world.state()).unwrap();
    assert_eq!(recover(&world.state()).unwrap(), Recovered::Nothing);
}

/// A world on a file system of its own, so that the mounts of a case can be below it.
fn world_with_large() -> World {
    let world = World::new();
    write(&world.own(), "a", "old\n", 0o644);
    write(&world.theirs(), "a", "new\n", 0o644);
    write(&world.theirs(), "large", &"x".repeat(200_000), 0o644);
    world
}

#[test]
fn a_full_disk() {
    let own = "mv $W/own $W/was; mkdir $W/own; mount -t tmpfs -o size=64k none $W/own; cp -a $W/was/. $W/own";
    run(&world_with_large(), "full", own, &[]);
}

#[test]
fn a_full_disk_of_the_record() {
    run(&example(), "full later", "mount -t tmpfs -o size=1m none $W/state", &[]);
}

#[test]
fn a_read_only_disk() {
    run(&example(), "read-only", "mount --bind -o ro $W/own $W/own", &[]);
}

#[test]
fn a_directory_on_another_mount() {
    let mount = "mkdir $W/d; cp -a $W/own/conf.d/. $W/d; mount --bind $W/d $W/own/conf.d";
    run(&example(), "another mount", mount, &[]);
}

#[test]
fn files_of_another_owner() {
    for (case, owner) in [("not permitted", 65534), ("not writable", 0)] {
        let world = example();
        for directory in
            [world.base.clone(), world.state(), world.own(), world.own().join("conf.d")]
        {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        chown(world.state(), Some(65534), Some(65534)).unwrap();
        let made = directories(&world.own()).into_iter().map(|path| world.own().join(path));
        for directory in made.chain([world.own()]) {
            chown(directory, Some(owner), Some(owner)).unwrap();
        }
        // That user may read everything, and own nothing.
        for tree in [world.own(), world.theirs()] {
            for (path, _) in files(&tree).iter().filter(|(path, _)| !path.contains("sites-enabled"))
            {
                let readable = fs::Permissions::from_mode(0o644);
                fs::set_permissions(tree.join(path), readable).unwrap();
            }
        }
        let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        run(&world, case, "true", &other);
    }
}
