//! Any bytes as the fields of any method: what can be read is written, and read again the same.

#![no_main]

use amqp::wire::method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, fields)) = bytes.split_first() else { return };
    let count = method::all().count();
    let Some(entry) = method::all().nth(usize::from(choice) % count) else { return };
    if let Ok(written) = (entry.rewrite)(fields) {
        assert_eq!((entry.rewrite)(&written), Ok(written.clone()), "{}", entry.name);
    }
    // And as a whole payload, whose method the bytes choose themselves.
    if let Some((id, fields)) = method::split(bytes)
        && let Some(entry) = method::all().find(|entry| (entry.class, entry.method) == id)
    {
        _ = (entry.rewrite)(fields);
    }
});
