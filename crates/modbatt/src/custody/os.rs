//! Secrets in the operating system's key store: Secret Service, Keychain or Credential Manager.

use keyring::{Entry, Error as StoreError};
use zeroize::Zeroizing;

use super::{Custody, Error, SECRET_MAX};

/// The key store, entries under one service name.
#[derive(Debug)]
pub struct OsStore {
    service: String,
}

impl OsStore {
    /// Entries of `service`.
    pub fn new(service: &str) -> Self {
        OsStore { service: service.to_owned() }
    }

    fn entry(&self, name: &str) -> Result<Entry, Error> {
        if let Err(e) = Entry::store_status() {
            return Err(Error::NoOsStore(e.to_string()));
        }
        Entry::new(&self.service, name).map_err(|e| Error::NoOsStore(e.to_string()))
    }
}

impl Custody for OsStore {
    fn load(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match self.entry(name)?.get_secret() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(StoreError::NoEntry) => Ok(None),
            Err(e) => Err(Error::NoOsStore(e.to_string())),
        }
    }

    fn store(&self, name: &str, secret: &[u8]) -> Result<(), Error> {
        if secret.len() > SECRET_MAX {
            return Err(Error::TooLong(secret.len()));
        }
        self.entry(name)?.set_secret(secret).map_err(|e| Error::NoOsStore(e.to_string()))
    }

    fn place(&self, name: &str) -> String {
        format!("entry `{name}` of `{}` in the key store of this system", self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs against the key store of this computer, or says that there is none.
    #[test]
    fn the_key_store_of_this_system_keeps_and_replaces() {
        let store = OsStore::new(&format!("modbatt test {}", std::process::id()));
        match store.load("one") {
            Err(Error::NoOsStore(why)) => println!("not run: this system has no key store ({why})"),
            _ => {
                super::super::tests::keeps_and_replaces(&store);
                for name in ["one", "two"] {
                    store.entry(name).unwrap().delete_credential().unwrap();
                }
            }
        }
    }
}
