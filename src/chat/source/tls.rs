//! Whom to trust: the machine's certificates, and those that the configuration adds.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// # Errors
/// Why the file cannot be used. A machine without certificates is no error here: connecting tells.
pub(super) fn client(ca_file: &Path) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !ca_file.as_os_str().is_empty() {
        let shown = ca_file.display();
        let certificates = CertificateDer::pem_file_iter(ca_file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("{shown}: no PEM certificates can be read from it: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("{shown}: there is no PEM certificate in it"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| format!("{shown}: is not a certificate: {error}"))?;
        }
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_certificate_is_told() {
        assert!(client(Path::new("")).is_ok());
        let file = tempfile::NamedTempFile::new().expect("a file");
        let told = client(file.path()).expect_err("empty");
        assert!(told.contains("no PEM certificate"), "{told}");
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
        assert!(client(file.path()).is_err());
        assert!(client(Path::new("/nowhere/ca.pem")).expect_err("missing").contains("/nowhere/ca.pem"));
    }
}
