//! Any bytes, cut into frames: nothing is lost and nothing invented, and no header or property list
//! in them does harm.

#![no_main]

use amqp::wire::frame;
use amqp::wire::properties;
use libfuzzer_sys::fuzz_target;

const PAYLOAD_BYTES_MAX: u32 = 4088;

fuzz_target!(|bytes: &[u8]| {
    let mut left = bytes;
    loop {
        let missing = frame::missing_bytes(left, PAYLOAD_BYTES_MAX);
        match frame::take(left, PAYLOAD_BYTES_MAX) {
            Ok(Some((taken, rest))) => {
                assert_eq!(missing, 0);
                let mut again = Vec::new();
                let begun = frame::begin(&mut again, taken.kind, taken.channel);
                again.extend_from_slice(taken.payload);
                frame::end(&mut again, &begun);
                again.pop();
                again.push(taken.end);
                assert_eq!(again, left[..left.len() - rest.len()]);
                if let Ok(header) = properties::read_header(taken.payload) {
                    let glance = properties::glance(header.properties);
                    assert!(glance.is_err() || header.properties.len() >= 2);
                }
                left = rest;
            }
            Ok(None) => {
                assert_ne!(missing, 0);
                break;
            }
            Err(too_large) => {
                assert_eq!(missing, 0);
                assert!(too_large.announced > too_large.limit);
                break;
            }
        }
    }
});
