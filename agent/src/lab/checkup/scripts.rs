//! What is run in a phone's shell to try each point; `core::lab::checkup` reads what comes of it.

use seatrial_adb::quote;
use seatrial_core::lab::checkup::Point;

/// By which detached work of a check is found.
pub(super) const NAME: &str = "checkup";
/// Detached work that says once a second that it runs.
pub(super) const BEATS: &str = "sh -c 'while :; do cat /proc/uptime; sleep 1; done'";

/// Sets `b` to the folder of the supply that is the battery.
const BATTERY: &str = "b=; for s in /sys/class/power_supply/*; do \
                       case $(cat \"$s/type\" 2>&-) in Battery) b=$s; break;; esac; done";

/// `None` where a script alone cannot try it.
pub(super) fn of(point: Point, folder: &str) -> Option<String> {
    let folder = quote(folder);
    Some(match point {
        Point::Tools => "for t in setsid nohup timeout sha256sum taskset grep kill df stat tail getconf getprop dumpsys \
                         settings logcat; do echo $t $(command -v $t); done"
            .to_owned(),
        Point::Execution => format!(
            "mkdir -p {folder} && cd {folder} && printf '#!%s\\nexit 0\\n' \"$(command -v sh)\" > try && chmod 755 try || exit 1\n\
             ./try; e=$?; rm -f try; exit $e"
        ),
        Point::Uevent => format!("{BATTERY}\n[ -z \"$b\" ] || cat \"$b/uevent\""),
        Point::CmdBattery => "cmd battery get current_now".to_owned(),
        Point::Dumpsys => "dumpsys battery".to_owned(),
        Point::ServiceCall => "service call batteryproperties 1 i32 2".to_owned(),
        Point::Gauge => format!(
            "{BATTERY}\n\
             i=0; while [ $i -lt 48 ]; do i=$((i+1))\n\
             c=; [ -z \"$b\" ] || {{ c=$(cat \"$b/current_now\" 2>&-)\n\
             [ -n \"$c\" ] || c=$(grep -s ^POWER_SUPPLY_CURRENT_NOW= \"$b/uevent\" | cut -d= -f2); }}\n\
             [ -n \"$c\" ] || c=$(cmd battery get current_now 2>&-)\n\
             read -r up rest < /proc/uptime\n\
             case $c in ''|*[!0-9-]*) ;; *) echo $up $c;; esac\n\
             sleep 0.25 2>&- || sleep 1; done"
        ),
        Point::ThermalZones => "for z in /sys/class/thermal/thermal_zone*; do [ -d \"$z\" ] || continue\n\
                                echo ${z##*/} $(cat \"$z/type\" \"$z/temp\" 2>&-); done"
            .to_owned(),
        Point::ThermalService => "dumpsys thermalservice".to_owned(),
        Point::Clocks => "for p in /sys/devices/system/cpu/cpufreq/policy*; do [ -d \"$p\" ] || continue\n\
                          echo ${p##*/} $(cat \"$p/scaling_cur_freq\" \"$p/scaling_max_freq\" 2>&-); done"
            .to_owned(),
        Point::OpenCl => "for l in /system/bin/linker64 /system/bin/linker /lib64/ld-linux* /lib/ld-linux*; do \
                          [ ! -x \"$l\" ] || break; done\n\
                          for f in /vendor/lib64/libOpenCL.so /system/vendor/lib64/libOpenCL.so /system/lib64/libOpenCL.so \
                          /vendor/lib64/*/libOpenCL.so /vendor/lib64/libPVROCL.so /vendor/lib64/libOpenCL-pixel.so \
                          /vendor/lib64/egl/libGLES_mali.so /vendor/lib/libOpenCL.so; do [ -e \"$f\" ] || continue\n\
                          if o=$(\"$l\" --list \"$f\" 2>&1); then echo \"$f\" ok; else echo \"$f\" $o; fi; done"
            .to_owned(),
        Point::Affinity => "taskset 1 grep Cpus_allowed_list /proc/self/status".to_owned(),
        Point::KeepAwake => "s='global stay_on_while_plugged_in'\n\
                             w=$(settings get $s) || exit 1; echo $w\n\
                             settings put $s 15 || exit 1; settings get $s\n\
                             case $w in ''|*[!0-9]*) settings delete $s >&2;; *) settings put $s $w;; esac\n\
                             settings get $s"
            .to_owned(),
        Point::FixedPerformance => "cmd power set-fixed-performance-mode-enabled true && \
                                    cmd power set-fixed-performance-mode-enabled false"
            .to_owned(),
        Point::Detached | Point::Dark => return None,
    })
}

/// What detached work has said.
pub(super) fn beats(folder: &str) -> String {
    format!("cat {}/{NAME}.log", quote(folder))
}
