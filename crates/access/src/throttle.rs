//! Failures cost time.
//!
//! A key has 256 random bits, so nobody finds one by trying; what trying does cost is a record for each failure and, for tokens, the
//! checking of a signature. Hence only failures are counted, and a good API key is not refused because of its neighbours behind
//! the same address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use record::Timestamp;

use crate::recent::Recent;

/// So many failures at once are nobody's concern: a program with an old key tries again a few times.
const FAILURES_AT_ONCE_MAX: i64 = 20;
/// After that one failure counts in so long.
const FAILURE_MICROS: i64 = 3_000_000;
/// The most addresses that are remembered; whoever has more addresses than this is not slowed down by it.
const PEERS_MAX: usize = 4_096;

/// Failures by address, in bounded memory.
pub struct Throttle {
    /// When the failures so far will have been paid for, in microseconds since the epoch.
    paid_at: Mutex<Recent<IpAddr, i64>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl Throttle {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { paid_at: Mutex::new(Recent::new(PEERS_MAX)) }
    }

    /// Whether an attempt from an address would be looked at.
    ///
    /// # Errors
    /// In how many seconds one will be.
    pub fn check(&self, peer: IpAddr, now: Timestamp) -> Result<(), u64> {
        let paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = paid_at.peek(&network(peer)).map_or(0, |paid_at| held(*paid_at, now) - now.as_micros());
        let over = debt - (FAILURES_AT_ONCE_MAX - 1) * FAILURE_MICROS;
        if over <= 0 { Ok(()) } else { Err(u64::try_from(over).unwrap_or(0).div_ceil(1_000_000)) }
    }

    /// An attempt has failed.
    ///
    /// # Errors
    /// In how many seconds the next one counts, when there were too many before: this one need not be recorded.
    pub fn failed(&self, peer: IpAddr, now: Timestamp) -> Result<(), u64> {
        self.check(peer, now)?;
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        let so_far = paid_at.touch(&peer).map_or(0, |paid_at| held(*paid_at, now));
        paid_at.insert(peer, so_far.max(now.as_micros()) + FAILURE_MICROS);
        Ok(())
    }
}

/// However far a clock was set back, nobody owes more than a whole bucket.
fn held(paid_at: i64, now: Timestamp) -> i64 {
    paid_at.min(now.as_micros() + FAILURES_AT_ONCE_MAX * FAILURE_MICROS)
}

/// One customer has one IPv4 address, or the 2⁶⁴ addresses of an IPv6 network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_posix_seconds(1_800_000_000 + seconds)
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exhaust(throttle: &Throttle, peer: IpAddr, now: Timestamp) {
        for _ in 0..FAILURES_AT_ONCE_MAX {
            throttle.failed(peer, now).unwrap();
        }
    }

    #[test]
    fn after_too_many_failures_one_counts_every_three_seconds() {
        let (throttle, a, b) = (Throttle::new(), peer("192.0.2.1"), peer("192.0.2.2"));
        exhaust(&throttle, a, at(0));
        assert_eq!(throttle.failed(a, at(0)), Err(3));
        assert_eq!(throttle.check(a, at(2)), Err(1));
        assert_eq!(throttle.failed(a, at(3)), Ok(()));
        assert_eq!(throttle.failed(a, at(3)), Err(3));
        assert_eq!(throttle.failed(b, at(3)), Ok(()));
        exhaust(&throttle, a, at(3 + 60));
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_the_ipv4_one() {
        let throttle = Throttle::new();
        exhaust(&throttle, peer("2001:db8:1:2::1"), at(0));
        throttle.check(peer("2001:db8:1:2:ffff::9"), at(0)).unwrap_err();
        throttle.check(peer("2001:db8:1:3::1"), at(0)).unwrap();
        exhaust(&throttle, peer("::ffff:192.0.2.1"), at(0));
        throttle.check(peer("192.0.2.1"), at(0)).unwrap_err();
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let throttle = Throttle::new();
        for address in 0..100_000_u32 {
            throttle.failed(IpAddr::V4(address.into()), at(0)).unwrap();
        }
        assert_eq!(throttle.paid_at.lock().unwrap().len(), PEERS_MAX);
    }

    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out_for_longer() {
        let (throttle, a) = (Throttle::new(), peer("192.0.2.1"));
        exhaust(&throttle, a, at(1_000_000));
        assert!(throttle.check(a, at(0)).unwrap_err() <= 3);
    }

    proptest! {
        /// In any stretch of time no more count than one bucket and one for every three seconds.
        #[test]
        fn no_pattern_of_attempts_gets_more_than_its_share(pauses in prop::collection::vec(0_u64..5, 1..300)) {
            let (throttle, a) = (Throttle::new(), peer("192.0.2.1"));
            let (mut now, mut counted) = (0, 0);
            for pause in pauses {
                now += pause;
                counted += u64::from(throttle.failed(a, at(now)).is_ok());
                prop_assert!(counted <= 20 + now / 3);
            }
        }
    }
}
