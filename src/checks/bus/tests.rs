use super::*;

/// What a bus that is made of a test answers.
pub(in crate::checks) enum Says<'a> {
    Text(&'a str),
    Error(&'a str, &'a str),
}

/// An answer, in the other byte order if `big`.
pub(in crate::checks) fn answer(to: u32, says: &Says<'_>) -> Vec<u8> {
    let (mut fields, mut body) = (Writer::default(), Writer::default());
    fields.pad(8);
    fields.0.push(REPLY_SERIAL);
    fields.signature("u");
    fields.number(to);
    let kind = match says {
        Says::Text(text) => {
            fields.field(SIGNATURE, "g", "v");
            body.signature("s");
            body.text(text);
            RETURN
        }
        Says::Error(name, text) => {
            fields.field(ERROR_NAME, "s", name);
            fields.field(SIGNATURE, "g", "s");
            body.text(text);
            ERROR
        }
    };
    message([kind, 1], 77, fields, body)
}

#[test]
fn a_call_is_what_the_specification_says() {
    let call = Call { service: "a.b", object: "/", interface: "c.d", member: "Get" };
    let expected = [
        &b"l\x01\x02\x01"[..], // little-endian, a call, not to be started, version 1
        &[15, 0, 0, 0, 7, 0, 0, 0], // lengths of the body and, below, of the fields
        &[72, 0, 0, 0],
        b"\x01\x01o\0\x01\0\0\0/\0\0\0\0\0\0\0", // each field from a multiple of 8
        b"\x02\x01s\0\x03\0\0\0c.d\0\0\0\0\0",
        b"\x03\x01s\0\x03\0\0\0Get\0\0\0\0\0",
        b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0",
        b"\x08\x01g\0\x02ss\0",
        b"\x01\0\0\0x\0\0\0\x02\0\0\0yz\0",
    ];
    assert_eq!(call.encode(7, &["x", "yz"]), expected.concat());
}

#[tokio::test]
async fn what_is_no_d_bus_is_an_error_and_costs_nothing() {
    let long = [b"l\x02\x01\x01".as_slice(), &[0xff; 12]].concat();
    let short = answer(1, &Says::Text("active"));
    let mut torn = short.clone();
    torn[12] = 3; // The fields end in the middle of the first.
    for (bytes, fault) in [
        (b"HTTP/1.1 400 Bad".to_vec(), "neither byte order"),
        (long, "too long"),
        (torn, "breaks off"),
        (short[..20].to_vec(), "broke off"),
    ] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&bytes).await.unwrap();
        drop(theirs);
        let mut bus = Bus { stream: ours, serial: 0 };
        let error = bus.read().await.err().expect("an error").to_string();
        assert!(error.contains(fault), "{error}");
    }
}

#[tokio::test]
async fn the_other_byte_order_is_read_too() {
    let mut bytes = answer(5, &Says::Text("active"));
    bytes[0] = b'B';
    // Every number: of the head, of the field with the serial, of the text.
    for at in [4, 8, 12, 20, bytes.len() - 11] {
        bytes[at..at + 4].reverse();
    }
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&bytes).await.unwrap();
    let message = Bus { stream: ours, serial: 5 }.read().await.unwrap();
    assert_eq!(message.reply_to, Some(5));
    let mut reader = message.body.reader();
    assert_eq!((reader.signature().unwrap(), reader.text().unwrap()), ("s", "active"));
}
