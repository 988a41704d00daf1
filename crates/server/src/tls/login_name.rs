//! The user that a client's certificate names, spelled as RabbitMQ spells it, so that the users of
//! a moved installation keep their names.

#![deny(clippy::indexing_slicing)]

use std::fmt::Write as _;

use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::LoginFrom;

const CN: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The short names of attributes that RabbitMQ knows; others are written as numbers.
const SHORT_NAMES: [(&str, &str); 16] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// `None`: the certificate does not have that part, or it is nothing that a name could be.
pub(super) fn of(certificate: &[u8], from: LoginFrom) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
    match from {
        LoginFrom::Subject => {
            // The last part comes first.
            let parts: Option<Vec<String>> = certificate
                .subject
                .0
                .iter()
                .rev()
                .map(|part| {
                    let pairs: Option<Vec<String>> = part.0.iter().map(pair).collect();
                    Some(pairs?.join("+"))
                })
                .collect();
            Some(parts?.join(",")).filter(|name| !name.is_empty())
        }
        LoginFrom::Cn => {
            let pairs = certificate.subject.0.iter().flat_map(|part| part.0.iter());
            let names = pairs.filter(|pair| pair.oid == CN);
            let names: Option<Vec<String>> = names.map(text).collect();
            names.filter(|names| !names.is_empty()).map(|names| names.join(","))
        }
        LoginFrom::AlternativeHost => {
            let (_critical, names) = certificate.get::<SubjectAltName>().ok()??;
            names.0.iter().find_map(|name| {
                if let GeneralName::DnsName(name) = name { Some(name.to_string()) } else { None }
            })
        }
    }
}

/// `CN=name`, with what has a meaning of its own escaped (RFC 4514).
fn pair(pair: &AttributeTypeAndValue) -> Option<String> {
    let oid = pair.oid.to_string();
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    let mut written = format!("{}=", short.map_or(oid.as_str(), |(_, short)| short));
    let text = text(pair)?;
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b' ' | b'#' if at == 0 => written.push('\\'),
            b' ' if at == last => written.push('\\'),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => written.push('\\'),
            0..32 | 126.. => {
                write!(written, "\\{byte:02X}").ok()?;
                continue;
            }
            _plain => {}
        }
        written.push(char::from(byte));
    }
    Some(written)
}

/// The value as text, whichever of the directory's kinds of string it is.
fn text(pair: &AttributeTypeAndValue) -> Option<String> {
    let bytes = pair.value.value();
    let tag = pair.value.tag();
    if [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String].contains(&tag) {
        String::from_utf8(bytes.to_vec()).ok()
    } else if tag == Tag::TeletexString {
        Some(bytes.iter().copied().map(char::from).collect())
    } else if tag == Tag::BmpString {
        let (units, []) = bytes.as_chunks::<2>() else { return None };
        let units = units.iter().copied().map(u16::from_be_bytes);
        char::decode_utf16(units).collect::<Result<_, _>>().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, DnValue)], alternatives: &[&str]) -> Vec<u8> {
        let alternatives: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(alternatives).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn cn() -> DnType {
        DnType::CustomDnType(vec![2, 5, 4, 3])
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn names_are_spelled_as_rabbitmq_spells_them() {
        let numbered = DnType::CustomDnType(vec![2, 5, 4, 9]);
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let table: [(&[(DnType, DnValue)], _, _); 8] = [
            (&[(cn(), utf8("client"))], Some("CN=client"), Some("client")),
            (
                &[
                    (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
                    (DnType::OrganizationName, utf8("A, B; \"C\"")),
                    (cn(), utf8("#1 +<=>\\ ")),
                ],
                Some(r#"CN=\#1 \+\<=\>\\\ ,O=A\, B\; \"C\",C=DE"#),
                Some("#1 +<=>\\ "),
            ),
            (&[(cn(), utf8("Zoë~"))], Some(r"CN=Zo\C3\AB\7E"), Some("Zoë~")),
            (
                &[(cn(), DnValue::BmpString("é€".try_into().unwrap()))],
                Some(r"CN=\C3\A9\E2\82\AC"),
                Some("é€"),
            ),
            (&[(numbered, utf8("Road 1"))], Some("2.5.4.9=Road 1"), None),
            (&[(email, utf8("a@b"))], Some("EMAILADDRESS=a@b"), None),
            (&[], None, None),
            (&[(cn(), utf8(" "))], Some(r"CN=\ "), Some(" ")),
        ];
        for (names, distinguished, cn_alone) in table {
            let certificate = certificate(names, &[]);
            let found = |from| of(&certificate, from);
            assert_eq!(found(LoginFrom::Subject).as_deref(), distinguished);
            assert_eq!(found(LoginFrom::Cn).as_deref(), cn_alone, "{names:?}");
            assert_eq!(found(LoginFrom::AlternativeHost), None);
        }
    }

    #[test]
    fn the_first_host_among_the_alternatives_counts() {
        let made = certificate(&[], &["192.0.2.1", "first.example", "second.example"]);
        let found = of(&made, LoginFrom::AlternativeHost);
        assert_eq!(found.as_deref(), Some("first.example"));
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let made = certificate(&[(cn(), utf8("client"))], &["first.example"]);
        for cut in 0..made.len() {
            assert_eq!(of(made.get(..cut).unwrap(), LoginFrom::Cn), None);
            let mut garbled = made.clone();
            *garbled.get_mut(cut).unwrap() ^= 0x15;
            for from in [LoginFrom::Subject, LoginFrom::Cn, LoginFrom::AlternativeHost] {
                _ = of(&garbled, from);
            }
        }
    }
}
