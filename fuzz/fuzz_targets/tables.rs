//! Any bytes as a field table: reading and checking agree, and what was read is written and read
//! again the same.

#![no_main]

use domain::properties::Properties;
use domain::table::{self, Table};
use libfuzzer_sys::fuzz_target;
use stdx::reader::Reader;

fuzz_target!(|bytes: &[u8]| {
    let mut checked = Reader::new(bytes);
    let check = table::check(&mut checked);
    let mut read = Reader::new(bytes);
    match Table::read(&mut read) {
        Err(error) => assert_eq!(check, Err(error)),
        Ok(table) => {
            assert_eq!(check, Ok(()));
            assert_eq!(checked.rest(), read.rest());
            let mut written = Vec::new();
            table.write(&mut written);
            let again = Table::read(&mut Reader::new(&written)).expect("what was written is read");
            let mut rewritten = Vec::new();
            again.write(&mut rewritten);
            // As bytes: a float that is no number equals nothing, itself included.
            assert_eq!(written, rewritten);
        }
    }
    _ = Properties(bytes).headers();
});
