//! What a phone has that is described without it: a battery, and what the framework says of it and of the screen.

/// Files from the root of the phone, for one without any power supply.
pub(super) const SUPPLY: &[(&str, &str)] = &[
    ("sys/class/power_supply/battery/type", "Battery\n"),
    ("sys/class/power_supply/battery/present", "1\n"),
    ("sys/class/power_supply/battery/status", "Discharging\n"),
    ("sys/class/power_supply/battery/capacity", "72\n"),
    ("sys/class/power_supply/battery/voltage_now", "3954000\n"),
    ("sys/class/power_supply/battery/current_now", "-210000\n"),
    ("sys/class/power_supply/battery/charge_counter", "3240000\n"),
    ("sys/class/power_supply/battery/temp", "298\n"),
    (
        "sys/class/power_supply/battery/uevent",
        "POWER_SUPPLY_NAME=battery
POWER_SUPPLY_TYPE=Battery
POWER_SUPPLY_STATUS=Discharging
POWER_SUPPLY_HEALTH=Good
POWER_SUPPLY_PRESENT=1
POWER_SUPPLY_TECHNOLOGY=Li-poly
POWER_SUPPLY_CYCLE_COUNT=121
POWER_SUPPLY_VOLTAGE_NOW=3954000
POWER_SUPPLY_CURRENT_NOW=-210000
POWER_SUPPLY_CHARGE_COUNTER=3240000
POWER_SUPPLY_CHARGE_FULL=4500000
POWER_SUPPLY_CHARGE_FULL_DESIGN=4700000
POWER_SUPPLY_CAPACITY=72
POWER_SUPPLY_TEMP=298
",
    ),
    ("sys/class/power_supply/usb/type", "USB\n"),
    ("sys/class/power_supply/usb/online", "1\n"),
];

/// The framework's view of the battery.
pub(super) const BATTERY: &str = "Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3240000
  status: 3
  health: 2
  present: true
  level: 72
  scale: 100
  voltage: 3954
  temperature: 298
  technology: Li-poly
";

/// Settings, each where the description has none: a screen whose brightness somebody has set.
pub(super) const SETTINGS: &[(&str, &str)] =
    &[("system/screen_brightness", "102"), ("system/screen_brightness_mode", "0")];

/// Answers of commands, each where the description has none.
pub(super) const ANSWERS: &[(&str, &str)] = &[
    ("dumpsys/battery", BATTERY),
    ("dumpsys/power", "POWER MANAGER (dumpsys power)\n\nPower Manager State:\n  mWakefulness=Awake\n"),
    ("dumpsys/thermalservice", "IsStatusOverride: false\nThermalEventListeners:\nThermal Status: 0\nHAL Ready: true\n"),
];
