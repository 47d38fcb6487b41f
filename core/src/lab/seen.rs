//! Phones that a lab host sees, whatever can be done with them: what it tells the server beside what agents tell.

use std::fmt;
use std::str::FromStr;

macro_rules! advice {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What a person is to do about a phone that is seen and not usable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Advice { $($(#[$doc])* $name,)* }

        impl Advice {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// In plain words, for a terminal.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

advice! {
    Accept = "accept",
        "unlock it and accept “Allow USB debugging?” with “Always allow from this computer”; if nothing is asked, revoke USB \
         debugging authorisations in its developer options and plug it in again";
    /// The handshake goes on.
    WaitForIt = "wait", "wait some seconds; if it stays so, look at its screen for a question";
    Permit = "permit",
        "the user of the adb server may not open its USB node: install udev rules for Android, add that user to the group \
         plugdev, plug it in again, then restart the adb server";
    Replug = "replug",
        "wait half a minute; then plug the cable in again, or switch USB debugging off and on; by TCP: `adb disconnect`, \
         then `adb connect`";
    /// It is in its bootloader or recovery.
    StartAndroid = "start_android", "restart it into Android";
    LeaveAlone = "leave_alone", "it is a computer: leave it alone";
    FreeIt = "free", "another program has taken it from the adb server: end that, or `adb attach`";
    /// A state that nobody here knows.
    LookAtAdb = "look_at_adb", "look at `adb devices -l` and at its screen";
    /// Its link comes and goes.
    ChangeCable = "change_cable", "its link is lost too often: change its cable, then its port, then its hub";
    /// Everything was tried.
    LookAtIt = "look_at_it", "everything was tried: look at it, restart it by hand, and plug it in again";
    AddAgent = "add_agent", "the server has no agent for it: `cargo xtask cross`, then `seatrial agents add`";
    /// An emulated Android without the hardware, as on HarmonyOS NEXT, or a processor without agents.
    NoAgentExists = "no_agent_exists", "there are no agents for its processor";
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Advice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().copied().find(|advice| advice.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no advice that is known here"))
    }
}

/// A phone as a lab host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// As the adb server lists it: cheap phones share serials.
    pub serial: String,
    /// Where it is plugged in: `usb:1-4.2`.
    pub usb_path: Option<String>,
    /// The adb server's word for its state, or the lab host's own: `resting`.
    pub state: String,
    /// Nothing where nobody has to do anything.
    pub advice: Option<Advice>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advice_is_read_back_from_its_code_and_says_something() {
        for &advice in Advice::ALL {
            assert_eq!(advice.as_str().parse(), Ok(advice));
            assert!(!advice.text().is_empty());
        }
        assert!("pray".parse::<Advice>().unwrap_err().contains("pray"));
    }
}
