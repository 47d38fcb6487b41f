//! Caps on open connections, in all and for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::Closed;

#[derive(Debug, Clone)]
pub(super) struct Admission {
    total: usize,
    per_address: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The right to hold one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Admission,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        Self { total, per_address, open: Arc::default() }
    }

    pub(super) fn admit(&self, address: IpAddr) -> Result<Place, Closed> {
        let address = network(address);
        let mut open = self.open();
        if open.total >= self.total {
            return Err(Closed::Total);
        }
        let of_address = open.by_address.entry(address).or_default();
        if *of_address >= self.per_address {
            return Err(Closed::Address);
        }
        *of_address += 1;
        open.total += 1;
        Ok(Place { admission: self.clone(), address })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.total -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// One host commands a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_greedy_address_is_refused_and_others_are_not() {
        let admission = Admission::new(10, 2);
        let held: Vec<_> = (0..2).map(|_| admission.admit(ip("10.0.0.1")).unwrap()).collect();
        assert_eq!(admission.admit(ip("10.0.0.1")).unwrap_err(), Closed::Address);
        assert_eq!(
            admission.admit(ip("::ffff:10.0.0.1")).unwrap_err(),
            Closed::Address,
            "the same address in IPv6 dress"
        );
        assert!(admission.admit(ip("10.0.0.2")).is_ok());
        drop(held);
        assert!(admission.admit(ip("10.0.0.1")).is_ok());
        assert!(admission.open().by_address.is_empty(), "a map of past addresses would grow for ever");
    }

    #[test]
    fn the_total_holds_whoever_asks() {
        let admission = Admission::new(2, 2);
        let _held = (admission.admit(ip("fd00::1")).unwrap(), admission.admit(ip("10.0.0.1")).unwrap());
        assert_eq!(admission.admit(ip("10.0.0.2")).unwrap_err(), Closed::Total);
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_address() {
        let admission = Admission::new(10, 1);
        let _held = admission.admit(ip("fd00::1")).unwrap();
        assert_eq!(admission.admit(ip("fd00::2")).unwrap_err(), Closed::Address);
        assert!(admission.admit(ip("fd00:0:0:1::1")).is_ok());
    }
}
