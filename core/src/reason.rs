//! Why something is as it is: English text for logs, exports and the command line, and beside it the code and the
//! arguments from which a page makes the same sentence in another language.
//!
//! The text is always made from the code's template, so the two cannot disagree. A reason that comes from elsewhere,
//! as from an older document or a person, has text only and is shown as it is.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A sentence fragment that says why, and how to say it in another language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Document", into = "Document")]
pub struct Reason {
    text: String,
    told: Option<Told>,
}

/// What a reason's text was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    code: Code,
    /// The process of the attempt that it is about.
    process: Option<u8>,
    /// Names and values of the template's placeholders. Values are numbers with units, names and codes: nothing that
    /// a translation would change.
    arguments: Vec<(String, String)>,
}

impl Reason {
    /// A reason of the registry. A placeholder without an argument stays empty; a test goes through all codes.
    #[must_use]
    pub fn new(code: Code, arguments: &[(&str, &dyn fmt::Display)]) -> Self {
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        Self::told(Told { code, process: None, arguments })
    }

    fn told(told: Told) -> Self {
        let said = fill(told.code.template(), &told.arguments);
        let text = match told.process {
            Some(process) => format!("process {process}: {said}"),
            None => said,
        };
        Self { text, told: Some(told) }
    }

    /// The same reason, said of one process of the attempt. A reason without a code stays as it is.
    #[must_use]
    pub fn of_process(self, process: u8) -> Self {
        match self.told {
            Some(told) => Self::told(Told { process: Some(process), ..told }),
            None => self,
        }
    }

    /// The English text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `None` for a reason that is only text.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.told.as_ref().map(|told| told.code)
    }

    /// The process of the attempt that the reason is about, counted from 0.
    #[must_use]
    pub fn process(&self) -> Option<u8> {
        self.told.as_ref().and_then(|told| told.process)
    }

    /// Names and values of the template's placeholders.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        let arguments = self.told.iter().flat_map(|told| &told.arguments);
        arguments.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A reason of the registry from its English text alone, for texts that crossed a border as text. Arguments are
    /// words: a text that would need one of several words, or none, is not known again.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let known = |code: &Code| Some((*code, unfill(code.template(), text)?));
        let (code, arguments) = Code::ALL.iter().find_map(known)?;
        Some(Self { text: text.to_owned(), told: Some(Told { code, process: None, arguments }) })
    }

    /// Several reasons as one line.
    #[must_use]
    pub fn joined(reasons: &[Self]) -> String {
        reasons.iter().map(Self::text).collect::<Vec<_>>().join("; ")
    }
}

/// A template with its placeholders filled, in one pass: what an argument brings is never read as a placeholder.
fn fill(template: &str, arguments: &[(String, String)]) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(arguments.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The arguments with which a template becomes this text.
fn unfill(template: &str, text: &str) -> Option<Vec<(String, String)>> {
    let (mut template, mut text) = (template, text);
    let mut arguments = Vec::new();
    while let Some((before, after)) = template.split_once('{') {
        let (name, after) = after.split_once('}')?;
        text = text.strip_prefix(before)?;
        let next = after.split_once('{').map_or(after, |(next, _)| next);
        let end = if next.is_empty() { text.len() } else { text.find(next)? };
        let (value, rest) = text.split_at(end);
        // One word, or several of which one would do.
        if value.split(" or ").any(|word| word.is_empty() || word.contains(char::is_whitespace)) {
            return None;
        }
        arguments.push((name.to_owned(), value.to_owned()));
        (template, text) = (after, rest);
    }
    (template == text).then_some(arguments)
}

impl Deref for Reason {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, told: None }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.text
    }
}

impl PartialEq<&str> for Reason {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

/// How a reason is stored and sent: text alone, or text with what it was made from.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Document {
    Text(String),
    Told {
        text: String,
        code: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<u8>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        arguments: Vec<(String, String)>,
    },
}

impl From<Document> for Reason {
    /// A code that this build does not know leaves the text.
    fn from(document: Document) -> Self {
        match document {
            Document::Text(text) => Self::from(text),
            Document::Told { text, code, process, arguments } => {
                Self { text, told: Code::parse(&code).map(|code| Told { code, process, arguments }) }
            }
        }
    }
}

impl From<Reason> for Document {
    fn from(reason: Reason) -> Self {
        let Reason { text, told } = reason;
        match told {
            None => Self::Text(text),
            Some(Told { code, process, arguments }) => {
                Self::Told { text, code: code.as_str().to_owned(), process, arguments }
            }
        }
    }
}

macro_rules! codes {
    ($($(#[$note:meta])* $code:ident, $word:literal, $template:literal;)*) => {
        /// Every reason that this crate gives, with the template of its English text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$note])* $code,)* }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// As catalogues and documents spell it. Never changed once released.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word,)* }
            }

            /// The English text with `{name}` for each argument.
            #[must_use]
            pub const fn template(self) -> &'static str {
                match self { $(Self::$code => $template,)* }
            }
        }
    };
}

impl Code {
    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }
}

codes! {
    // What makes samples invalid.
    TooFewSamples, "too_few_samples", "{samples} samples, the profile asks for at least {least}";
    TooFewForAny, "too_few_for_any", "{samples} samples, at least {least} are needed whatever the profile asks for";
    WindowTooShort, "window_too_short", "measuring took {ms} ms, and what else ran on the device shows from {least} ms on";
    Slept, "slept", "the device slept for {ms} ms of the window";
    ForeignCpu, "foreign_cpu", "foreign CPU took {share} of all cores, limit {limit}";
    StolenCpu, "stolen_cpu", "foreign CPU took {share} of all cores, {stolen} of it taken by the hypervisor, limit {limit}";
    Waited, "waited", "the child waited for a CPU during {share} of the time it could have run ({ms} ms), limit {limit}";
    CrowdedOut, "crowded_out", "others took {share} of the {cpus} CPUs that {threads} threads share, limit {limit}";
    Descheduled, "descheduled", "the child was taken off its CPU {rate} times a second ({switches} times), limit {limit}";
    TimesUntold, "times_untold", "{ms} ms of what the runner ran for lie outside of its samples, {borne} ms are borne, and it waited {waited} ms for a CPU: whether its times are true cannot be told";
    TimesUnseen, "times_unseen", "{ms} ms of what the runner ran for lie outside of its samples, {borne} ms are borne, and the kernel does not tell how long it waited for a CPU: whether its times are true cannot be told";
    StoodStill, "stood_still", "the child ran during {share} of its window, at least {least} is normal for a model on the CPU";
    MajorFaults, "major_faults", "{faults} page faults were served from disk, limit {limit}: memory is short";
    NoEvidence, "no_evidence", "nothing is known of what else ran on the device";
    Hot, "hot", "{sensor} reached {celsius} °C, limit {limit} °C";
    Throttling, "throttling", "{sensor} was throttling (state {state})";
    ClockLimited, "clock_limited", "{sensor} was lowered from {from} to {to} {unit}";
    ThermalStatus, "thermal_status", "the system's thermal status was {status} of 6; from {limit} on it holds clocks back";
    ScreenChanged, "screen_changed", "the screen was switched on or off while it was measured";
    BrightnessChanged, "brightness_changed", "the brightness of the screen went from {from} to {to} while the device's power was measured";
    BrightnessFollows, "brightness_follows", "the screen was on and its brightness follows the light: set it by hand";
    BatterySaver, "battery_saver", "the battery saver was on, which holds clocks back";
    ClockChanged, "clock_changed", "the clock went from {from} to {to} MHz ({change}), limit ±{limit}";
    Drifted, "drifted", "the last third of the samples was {share} slower than the first ({last} against {first} ms), limit {limit}";
    WindowUnknown, "window_unknown", "nothing is known of its measure window";
    ProcessUnlisted, "process_unlisted", "it has samples, but the report does not list it";
    ProcessesMissing, "processes_missing", "{measured} of {asked} processes have samples";
    StartsUnfit, "starts_unfit", "the start times do not fit the samples";
    StartsMissing, "starts_missing", "it is not known when its samples began";
    SensorsDropped, "sensors_dropped", "{sensors} traces of sensors did not fit into the report, so throttling would not show";
    BlockTwice, "block_twice", "more than one {block} block";
    BlockUnusable, "block_unusable", "the {block} block cannot be used: {why}";
    AccuracyUnusable, "accuracy_unusable", "accuracy: {why}";
    // What a program that measures itself does not tell, or tells wrongly.
    NotTold, "not_told", "{program} does not tell it";
    ToldTwice, "told_twice", "{program} tells it {count} times, each time differently";
    ToldNoNumber, "told_no_number", "{program} tells {value}, which nothing can measure";
    ToldUnread, "told_unread", "what {program} tells cannot be read: {why}";
    ThreadsNotSet, "threads_not_set", "{program} is not told how many threads to use";
    RanElsewhere, "ran_elsewhere", "{program} says nothing of having run on the {accelerator}";
    ToldByProgram, "told_by_program", "{program} measures itself; what it reports stands apart";
    ToldMoreTime, "told_more_time", "{program} tells of {told} ms, and it ran for {wall} ms";
    // What makes outputs wrong.
    OutputNotCompared, "output_not_compared", "output {output}: no element could be compared";
    OutputNan, "output_nan", "output {output}: {count} values are not a number where the reference is one";
    OutputInfinite, "output_infinite", "output {output}: {count} values are infinite where the reference is not";
    OutputCosine, "output_cosine", "output {output}: cosine similarity {value}, limit {limit}";
    OutputSqnr, "output_sqnr", "output {output}: signal to noise {value} dB, limit {limit} dB";
    OutputMaxAbs, "output_max_abs", "output {output}: largest difference {value}, limit {limit}";
    OutputArgmax, "output_argmax", "output {output}: argmax as the reference's {value}, limit {limit}";
    AndMore, "and_more", "and {count} more";
    // Why the outputs of two devices are not compared.
    NoOutputsKept, "no_outputs_kept", "the job kept no outputs";
    OutputNotKept, "output_not_kept", "the values of output {output} were not kept";
    KeptUnfit, "kept_unfit", "{values} values were kept, and the outputs of the report have {expected}";
    OutputUnlike, "output_unlike", "output {output} is {reference} on the other device";
    OtherDatasetVersion, "other_dataset_version", "the other device ran another version of the dataset";
    NoDeviceToCompare, "no_device_to_compare", "no device has a valid result of this variant and dataset";
    NotComparedThere, "not_compared_there", "on {device}, which it would be compared with: {why}";
    NotAmongFirst, "not_among_first", "only the first {rows} rows are compared";
    // Why a combination cannot run.
    Quarantined, "quarantined", "the device is quarantined";
    QuarantinedSince, "quarantined_since", "the device is quarantined: {why}";
    Maintenance, "maintenance", "the device is in maintenance";
    MaintenanceSince, "maintenance_since", "the device is in maintenance: {why}";
    Retired, "retired", "the device is retired";
    RetiredSince, "retired_since", "the device is retired: {why}";
    Unauthorized, "unauthorized", "the device does not allow debugging yet";
    UnauthorizedSince, "unauthorized_since", "the device does not allow debugging yet: {why}";
    TripleQuarantined, "triple_quarantined", "this model crashed or hung twice with this backend on the device ({class}); quarantine {id} ends with a new version of model, runtime, ROM or driver, or by `seatrial quarantines lift {id}`";
    Discovered, "discovered", "the device has no agent yet";
    DiscoveredSince, "discovered_since", "the device has no agent yet: {why}";
    SignatureRefused, "signature_refused", "a device loaded the variant and found other inputs or outputs than were claimed; add the model again";
    RuntimeNotOffered, "runtime_not_offered", "the device does not offer {runtime}; it offers {offered}";
    NoRuntimeOffered, "no_runtime_offered", "the device does not offer {runtime}; it offers no runtime";
    OtherTrack, "other_track", "the device offers {runtime} {version}, which is not of track {track}";
    EngineNotLoaded, "engine_not_loaded", "the agent on the device cannot load {runtime} from a package";
    NoInterpreter, "no_interpreter", "{runtime} is run by {interpreter}, which the agent on the device does not have: start it with --interpreter";
    NoScorerInterpreter, "no_scorer_interpreter", "the scorer of {dataset} is run by {interpreter}, which the agent on the device does not have: start it with --interpreter";
    NoPackage, "no_package", "there is no package of {runtime}; `seatrial runtimes add` brings one";
    NoTrack, "no_track", "there is no track {track} of {runtime}; there are {known}";
    NoPackageForAbi, "no_package_for_abi", "track {track} has no {runtime} for {abi}; it has {known}";
    NotInPackage, "not_in_package", "the package of {runtime} {version} holds nothing for {accelerator}";
    FormatUnread, "format_unread", "{runtime} {version} does not read {format}";
    NoAccelerator, "no_accelerator", "{runtime} {version} has no {accelerator} on this device";
    NoVersionServes, "no_version_serves", "no version of {runtime} on the device serves this: {each}";
    ProgramTakesNoDataset, "program_takes_no_dataset", "{runtime} is a program that measures itself: it runs no dataset";
    ProgramHasNoProfile, "program_has_no_profile", "{runtime} is a program that measures itself: it knows no profile {profile}";
    TooManyThreads, "too_many_threads", "{threads} threads are asked for, and the device has {cpus} CPUs";
    TooManyThreadsOnOne, "too_many_threads_on_single", "{threads} threads are asked for, and the device has 1 CPU";
    TooManyThreadsOf, "too_many_threads_of", "{threads} threads are asked for, and the device has {cpus} CPUs ({affinity})";
    TooManyThreadsOnOneOf, "too_many_threads_on_single_of", "{threads} threads are asked for, and the device has 1 CPU ({affinity})";
    NoSuchCpu, "no_such_cpu", "the device has no CPU {cpu}";
    CpusAlike, "cpus_alike", "the device's CPUs are all alike, so it has no {affinity} cores";
    ClustersUnknown, "clusters_unknown", "which cores are {affinity} is not known ({why})";
    NoMidCores, "no_mid_cores", "the device has two kinds of cores, so it has no mid cores";
    TooLarge, "too_large", "the variant has {size} MiB, and the device has {memory} MiB of memory";
    UnreadOutputs, "unread_outputs", "the binding has no `{key}`, which says how outputs are read for {task}";
    OpenAxis, "open_axis", "axis \"{axis}\" of input \"{input}\" has no size: set it in the binding's `axes`, or name a dataset";
    // Why a run does not pass its gate.
    NothingRan, "nothing_ran", "no job ran";
    OtherAccelerator, "other_accelerator", "the job ran, but not on the accelerator that was asked for";
    CannotRun, "cannot_run", "cannot run: {why}";
    GateUnreadable, "gate_unreadable", "the gate cannot be read from the suite, and what was not judged is not a pass: {why}";
    NothingToJudge, "nothing_to_judge", "no job of the run matches this rule, and what was not measured is not a pass";
    MetricMissing, "metric_missing", "{metric} is missing: {why}";
    AboveLimit, "above_limit", "{metric} is {value}, above the limit: at most {limit}";
    BelowLimit, "below_limit", "{metric} is {value}, below the limit: at least {limit}";
    BoundAboveLimit, "bound_above_limit", "{metric} is {value} and its 95 % interval reaches {bound}, above the limit: at most {limit}";
    BoundBelowLimit, "bound_below_limit", "{metric} is {value} and its 95 % interval reaches {bound}, below the limit: at least {limit}";
    // Why a number is absent, and what else crosses a border as text.
    TraceDropped, "trace_dropped", "dropped: the report was too large for a message";
    NoSamples, "no_samples", "no samples";
    ClockTooCoarse, "clock_too_coarse", "the median is zero: the clock is too coarse for this model";
    NoMeasurableTime, "no_measurable_time", "the samples took no measurable time";
    NoInterval, "no_interval", "the profile has no interval";
    NotCold, "not_cold", "the load was not cold: the disk read {read} of the model's {size} bytes";
    ColdUnknown, "cold_unknown", "it is not known whether the load was cold: the kernel does not tell what the disk read (read_bytes of /proc/self/io)";
    PackageNotCold, "package_not_cold", "the load was not cold: the disk read {read} of the {held} bytes of the engine's package that the process had in memory once it was open";
    PackageColdUnknown, "package_cold_unknown", "it is not known whether the load was cold: nothing tells what of the engine's package came from the disk (smaps and io of /proc/self)";
    InterpreterKept, "interpreter_kept", "the load was not cold: only the model and the runner's own files are cleared from the page cache, and not its interpreter with its libraries";
    CompileUntold, "compile_untold", "the engine does not tell compiling from loading";
    PeakUnmarked, "peak_unmarked", "the mark of the highest memory could not be started anew after the inputs were made (/proc/self/clear_refs), so it would be theirs";
    PssUntold, "pss_untold", "the kernel does not tell it (/proc/self/smaps_rollup)";
    LoadsColdOnly, "loads_cold_only", "the profile runs one process, which loads cold";
    NothingCompared, "nothing_compared", "no element could be compared";
    NothingForFigure, "nothing_for_figure", "the dataset has nothing that this figure judges";
    NoEnds, "no_ends", "no samples in the first or the last minute";
    NotFinite, "not_finite", "not a finite number";
    NotRepeated, "not_repeated", "no process repeated an inference";
    NoDelegates, "no_delegates", "tract has no delegates";
    NoProviders, "no_providers", "tract has no providers";
    ThreadsUncounted, "threads_uncounted", "threads are counted while inferences are timed, and here none were, or for too short a time";
    ThreadsUntold, "threads_untold", "the kernel does not tell the CPU time of each thread (/proc/self/task/*/schedstat)";
    ThreadsOfDriver, "threads_of_driver", "beside an accelerator, the engine's threads cannot be told from its driver's";
    CpuAlone, "cpu_alone", "the CPU is no accelerator";
    DriverDecides, "driver_decides", "the NPU's driver decides it, and {runtime} does not tell";
    NotAndroid, "not_android", "not an Android device, or its properties cannot be read";
    NoGpuKnown, "no_gpu_known", "no GPU is known to this kernel, or it may not be asked";
    NoGpuDriver, "no_gpu_driver", "no GPU driver is loaded";
    PropertiesCut, "properties_cut", "the list of properties is cut off, and what is missing in it may be on the device";
    PropertiesGarbled, "properties_garbled", "the list of properties is garbled, and what is missing in it may be on the device";
    PropertiesContradict, "properties_contradict", "told twice, with different values, and not believed: {keys}";
    RomsMixed, "roms_mixed", "the properties are of {rom}, and also of {others}: a ported or spoofed ROM";
    CustomRom, "custom_rom", "{rom} is not the maker's ROM: drivers and thermal limits may be others";
    SystemOpened, "system_opened", "the system is not as its maker closed it: {keys}";
    IdentityDisputed, "identity_disputed", "partitions of the device name different products, as after spoofing: {keys}";
    ChipDisputed, "chip_disputed", "the chip is told in different ways: {from}, but {others}";
    ContainerOfHarmony, "container_of_harmony", "this is the Android container of HarmonyOS NEXT, not the phone, which is reached by hdc";
    // What a device does not tell of itself.
    DeviceTellsNone, "device_tells_none", "the device tells none";
    VulkanUnasked, "vulkan_unasked", "the driver of Vulkan was not asked or did not answer";
    PackingUnknown, "packing_unknown", "no packing of this vendor's number is known";
    GpuNameUnknown, "gpu_name_unknown", "no table knows the name that the driver tells";
    LibrariesCut, "libraries_cut", "the list of libraries is cut off";
    ServicesCut, "services_cut", "the list of services is cut off";
    ChipUnknown, "chip_unknown", "no property, file or device tree names a chip that a table knows";
    CpuinfoCut, "cpuinfo_cut", "/proc/cpuinfo is cut off";
    CpuinfoNoCpu, "cpuinfo_no_cpu", "/proc/cpuinfo names no CPU";
    CpuinfoCutCores, "cpuinfo_cut_cores", "/proc/cpuinfo is cut off, and a core that is missing may lack what the others have";
    CpuinfoNoFeatures, "cpuinfo_no_features", "/proc/cpuinfo names no features";
    BoardMakerUnknown, "board_maker_unknown", "no table knows the maker of this board";
    BoardHasNone, "board_has_none", "a board has none";
    RomUntold, "rom_untold", "this ROM does not tell it";
    OsReleaseCut, "os_release_cut", "/etc/os-release is cut off";
    OsReleaseNoName, "os_release_no_name", "/etc/os-release has no NAME";
    OsReleaseNoVersion, "os_release_no_version", "/etc/os-release has no VERSION_ID";
    OsReleaseNoBuild, "os_release_no_build", "/etc/os-release has no build";
    NoRegion, "no_region", "a distribution has no region";
    JetsonUntold, "jetson_untold", "whether this is a Jetson was not told";
    TegraUnexpected, "tegra_unexpected", "/etc/nv_tegra_release is not written as expected";
    NoMemTotal, "no_mem_total", "/proc/meminfo has no MemTotal";
    MachineCut, "machine_cut", "the machine's name is cut off";
    DeviceTreeCut, "device_tree_cut", "the device tree's model is cut off";
    NoProperty, "no_property", "there is no property {names}";
    PropertyTwice, "property_twice", "{key} is told twice, with different values";
    NotAskedFor, "not_asked_for", "the device was not asked for {what}";
    SaysEmpty, "says_empty", "{what} is empty";
    EndedBefore, "ended_before", "the output ended before {what} said anything";
    SaysNothing, "says_nothing", "{what} says nothing here and ended with code {code}";
    NameNowhere, "name_nowhere", "no table says where {brand} writes it";
    ChipTellsNoGpu, "chip_tells_no_gpu", "and the chip tells no GPU";
    FewCoresTell, "few_cores_tell", "only {telling} of {on} cores tell their features";
    CodeOfSeveral, "code_of_several", "{word} is the code of several";
    // What cannot be read.
    NoFile, "no_file", "there is no {path}";
    NotReadable, "not_readable", "{path} may not be read by this user";
    TooManySensors, "too_many_sensors", "there are {count} sensors, of which {read} are read";
    NoBattery, "no_battery", "there is no battery under {path}";
    NoFrequencies, "no_frequencies", "there is no {path}: this kernel or machine does not show frequencies";
    NoGovernor, "no_governor", "there is no governor under {path}";
    NoThermalZone, "no_thermal_zone", "there is no thermal zone under {path}";
    NoCoolingDevice, "no_cooling_device", "there is no cooling device under {path} that could act";
    NoPowerSensor, "no_power_sensor", "there is neither RAPL under {rapl} nor a power sensor under {hwmon}";
    AsInModel, "as_in_model", "as in the model";
    CacheDroppedAgain, "cache_dropped_again", "dropped again after the model was read for its inputs";
    NotProbed, "not_probed", "the attempt ended before the device was probed";
    Attached, "attached", "its agent has attached";
    WentAway, "went_away", "the device went away before it was given the job";
    NotAccepted, "not_accepted", "the agent did not accept the assignment in time";
    CameBackWithout, "came_back_without", "the agent came back without having had the assignment";
    Released, "released", "released by hand";
    HeldBy, "held_by", "held by {by}";
    HeldByFor, "held_by_for", "held by {by}: {why}";
    ReservedBy, "reserved_by", "reserved by {by}";
    HoldOver, "hold_over", "it is held no longer";
    ReservationOver, "reservation_over", "its reservation has ended";
    OnProbation, "on_probation", "its quarantine has ended: it is on probation until it works well";
    ProbationOver, "probation_over", "it works well: its probation has ended";
    LostInARow, "lost_in_a_row", "lost {jobs} jobs in a row";
    // What a device's health check found.
    CanaryOutputs, "canary_outputs", "its health check gave outputs that are not what they are everywhere";
    CanaryCrashed, "canary_crashed", "its health check ended as {outcome} twice in a row";
    CanarySlow, "canary_slow", "its health check took {ms} ms, and {usual} ms is usual";
    CanarySensor, "canary_sensor", "its sensor {sensor} gives what cannot be true: {value} {unit}";
    CanaryInvalid, "canary_invalid", "the health check's latency is not valid";
    CanaryNotRun, "canary_not_run", "the health check measured nothing: {outcome}";
    NothingMeasured, "nothing_measured", "the profile measures nothing: accuracy_only needs a dataset";
    // What is known of a battery's gauge, and why there is no energy or what it is worth.
    SourceDenied, "source_denied", "{source} may not be asked for {field}: permission denied";
    SourceMissing, "source_missing", "{source} does not give {field}";
    SourceConstant, "source_constant", "{source} gave {field} as {value} for {seconds} s under load";
    RecordingBroken, "recording_broken", "the readings cannot be used as they are: {what}";
    NoSuchTrace, "no_such_trace", "the trace is not one of idle, load and idle";
    TraceWhileFed, "trace_while_fed", "the trace was made while the phone was supplied from outside";
    NoCurrentInTrace, "no_current_in_trace", "the trace holds no current in one of its phases";
    LoadNotSeen, "load_not_seen", "under load the current moved by {step} of its units, which its noise ({noise}) could do as well";
    SignSeen, "sign_seen", "under load the current went from {idle} to {load} of its units";
    SignContradicts, "sign_contradicts", "under load the current went from {idle} to {load} of its units: towards zero, as while charging";
    UnitUnknown, "unit_unknown", "{value} under load is no current of a phone, neither in mA nor in µA";
    UnitByCounter, "unit_by_counter", "in {unit} the current is {factor} times what the charge counter fell by";
    UnitAgainstCounter, "unit_against_counter", "in {unit}, the only unit of a phone, the current is {factor} times what the charge counter fell by";
    UnitBySize, "unit_by_size", "{value} under load can only be {ma} mA";
    PeriodSeen, "period_seen", "{changes} changes, a quarter of them at most {seconds} s after the one before";
    TooFewChanges, "too_few_changes", "the current changed {changes} times, at least {least} are needed";
    StepSeen, "step_seen", "two values lay {step} of its units apart, and none closer";
    CurrentStoodStill, "current_stood_still", "the current never changed";
    LagSeen, "lag_seen", "the current was {up} s behind the load going up and {down} s behind it going down";
    NotSettled, "not_settled", "the current had not settled within phases of {seconds} s";
    NoCounterInTrace, "no_counter_in_trace", "the trace holds no charge counter";
    CounterContradicts, "counter_contradicts", "how fast the charge counter fell and how much it shows do not fit one unit";
    CounterByRate, "counter_by_rate", "the charge counter fell by {fell} of its units in {seconds} s";
    CounterBySize, "counter_by_size", "the charge counter shows {value} at a level of {level} %";
    CounterUnknown, "counter_unknown", "a charge counter of {value} fits no battery of a phone, neither in mAh nor in µAh";
    CounterStoodStill, "counter_stood_still", "the charge counter did not move";
    NothingTellsPower, "nothing_tells_power", "nothing on this device tells what it draws: {why}";
    NoPowerRead, "no_power_read", "no reading from which power could be computed";
    MeterKnowsNoCharge, "meter_knows_no_charge", "a power meter does not tell the battery's charge";
    EndFed, "end_fed", "the phone is supplied from outside";
    EndLevel, "end_level", "the battery is at {level} %, and the measurement ends at {least} %";
    EndPairs, "end_pairs", "{pairs} pairs of idle and load, and no more are allowed";
    EndPrecise, "end_precise", "the number is precise enough after {pairs} pairs of idle and load";
    EndLongest, "end_longest", "another pair of idle and load does not fit into {minutes} minutes";
    VoltageImplausible, "voltage_implausible", "{volts} V is no voltage of a phone's battery";
    CounterRose, "counter_rose", "the charge counter rose by {mah} mAh while the battery should discharge";
    CounterAlone, "counter_alone", "by the charge counter alone";
    BatteryBesideMeter, "battery_beside_meter", "the meter is before a battery that is not known to rest: what that gives or takes is missed";
    Fed, "fed", "the phone was supplied from outside {seconds} s after the first reading";
    FeedingUnknown, "feeding_unknown", "nothing says whether the phone was supplied from outside";
    GaugeConstant, "gauge_constant", "the current stayed the same for {seconds} s of idle, load and idle";
    CurrentInto, "current_into", "{ma} mA flowed into the battery: it was charged, or the sign of its current is mistaken";
    ReadingsDark, "readings_dark", "the readings leave too much of the time dark";
    CurrentImplausible, "current_implausible", "{ma} mA is no current of a phone that runs on its battery: the unit is mistaken, or something else fed it";
    NoCounter, "no_counter", "by the current alone: there is no charge counter to hold it against";
    CalibrationMistaken, "calibration_mistaken", "the current adds up to {current} mAh, and the charge counter fell by {counter} mAh: the calibration is mistaken";
    CounterCoarse, "counter_coarse", "by the current alone: the charge counter fell by {fell} mAh in steps of {step} mAh";
    LoadBelowIdle, "load_below_idle", "less power under load than in idle";
    DesignUnknown, "design_unknown", "what the battery held when it was new is not known";
    NoInferences, "no_inferences", "no inference ran in the load phases";
    TooFewPairs, "too_few_pairs", "{pairs} pairs of idle and load can be used, at least {least} are needed";
    GradeFit, "grade_fit", "by {source} ({scope}), whose total is a fit over some rails";
    GradeMeter, "grade_meter", "measured by {source} ({scope})";
    GradeSuspended, "grade_suspended", "the cable stayed in, with its input switched off";
    GradeBoth, "grade_both", "the current adds up to {ratio} times what the charge counter fell by";
    GaugeDisagrees, "gauge_disagrees", "the current and the charge counter do not agree: their ratio is {ratio}";
    NoBatteryTemperature, "no_battery_temperature", "the battery's temperature was not read twice";
    LevelOutside, "level_outside", "the battery was at {level} %, outside of {least} to {most} %";
    BatteryWarmed, "battery_warmed", "the battery's temperature went between {from} and {to} °C";
    BatteryHot, "battery_hot", "the battery began at {celsius} °C, limit {limit} °C";
    BaselineMoved, "baseline_moved", "idle went from {from} to {to} W";
    PairsDark, "pairs_dark", "{dark} of {run} pairs of idle and load were not read well enough";
    PackWorn, "pack_worn", "the battery holds {share} % of what it did when new, and below {least} % it may swell: replace it";
    PackCycled, "pack_cycled", "the battery has {cycles} cycles, and from {most} on it may swell: look at it";
    PackSick, "pack_sick", "the battery says of itself: {word}";
    PackWarm, "pack_warm", "the battery is at {celsius} °C, limit {limit} °C: let it cool";
    EndCut, "end_cut", "the attempt ended before the measurement did";
    BatteryTellsNothing, "battery_tells_nothing", "its battery gives neither a current nor a charge, and no meter was found";
    NoBatteryNorMeter, "no_battery_nor_meter", "it has no battery, and no meter was found";
    NoGauge, "no_gauge", "the device has no battery";
    EnergyUnrecorded, "energy_unrecorded", "the report carries no recording of what the device drew";
    BelowResolution, "below_resolution", "below resolution: at most {most} {unit}";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_text_is_the_template_with_its_arguments() {
        let reason = Reason::new(Code::ForeignCpu, &[("share", &"31 %"), ("limit", &"{share}")]);
        assert_eq!(reason, "foreign CPU took 31 % of all cores, limit {share}");
        let of_second = reason.of_process(1);
        assert_eq!(of_second, "process 1: foreign CPU took 31 % of all cores, limit {share}");
        assert_eq!((of_second.code(), of_second.process()), (Some(Code::ForeignCpu), Some(1)));
        assert_eq!(of_second.arguments().collect::<Vec<_>>(), [("share", "31 %"), ("limit", "{share}")]);
    }

    #[test]
    fn a_reason_reads_back_as_it_was_and_text_alone_stays_text() {
        let told = Reason::new(Code::Slept, &[("ms", &2500)]).of_process(0);
        let plain = Reason::from("written by an older server");
        for reason in [told, plain] {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), reason, "{json}");
        }
        let text: Reason = serde_json::from_str("\"the device slept\"").unwrap();
        assert_eq!((text.text(), text.code()), ("the device slept", None));
        let later: Reason = serde_json::from_str(r#"{"text":"the moon was full","code":"moon"}"#).unwrap();
        assert_eq!((later.text(), later.code()), ("the moon was full", None), "a code of a later build");
    }

    #[test]
    fn a_text_alone_is_known_again_when_it_is_a_template_filled_with_words() {
        let code = |text: &str| Reason::read(text).and_then(|reason| reason.code());
        assert_eq!(code("not a finite number"), Some(Code::NotFinite));
        assert_eq!(code("there is no /sys/class/dmi/id/product_name"), Some(Code::NoFile));
        assert_eq!(code("there is no battery under /sys/class/power_supply"), Some(Code::NoBattery));
        assert_eq!(
            code("there is no /sys/x: this kernel or machine does not show frequencies"),
            Some(Code::NoFrequencies)
        );
        for text in ["there is no hope at all", "there is no ", "the moon was full", "not a finite number, or is it"] {
            assert_eq!(code(text), None, "{text}");
        }
        for code in Code::ALL {
            let names: Vec<&str> =
                code.template().split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            let arguments: Vec<(&str, &dyn fmt::Display)> = names.iter().map(|name| (*name, name as _)).collect();
            let reason = Reason::new(*code, &arguments);
            let read = Reason::read(reason.text()).unwrap();
            assert_eq!(read.text(), reason.text());
            assert_eq!(read.code(), Some(*code), "{reason}");
        }
    }

    #[test]
    fn codes_and_templates_are_distinct_and_templates_are_lowercase_fragments() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let templates: BTreeSet<&str> = Code::ALL.iter().map(|code| code.template()).collect();
        assert_eq!((words.len(), templates.len()), (Code::ALL.len(), Code::ALL.len()));
        for code in Code::ALL {
            assert!(!code.template().ends_with('.') && !code.template().starts_with(char::is_uppercase), "{code:?}");
        }
    }
}
