//! What a device is called: brand, model code, and the name under which it is sold.

use serde::{Deserialize, Serialize};

use super::evidence::{Piece, RawEvidence};
use super::properties::{Properties, quote};
use super::rules::Rules;
use super::{Fact, Found, Standing};
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// Names of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    /// As its maker writes it: `Xiaomi`, `iQOO`, `Raspberry Pi`.
    pub brand: Fact<String>,
    /// The code of the model: `23127PN0CC`; of a board the device tree's model.
    pub model: Fact<String>,
    /// The name under which it is sold, its brand in Latin letters: `OnePlus 12`.
    pub marketing_name: Fact<String>,
    /// The same as told in Chinese: `一加 12`.
    pub chinese_name: Fact<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamesFile {
    pub maker: Vec<Maker>,
    pub brand: Vec<Brand>,
    pub prefix: Vec<Prefix>,
    pub board: Vec<Board>,
    pub placeholders: Placeholders,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Maker {
    pub name: String,
    names: Vec<String>,
    #[serde(default)]
    device_name: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Brand {
    pub name: String,
    pub maker: String,
    pub told: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prefix {
    chinese: String,
    english: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    prefix: String,
    brand: String,
}

/// Values that stand for no value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placeholders {
    names: Vec<String>,
}

impl NamesFile {
    pub(super) fn maker(&self, name: &str) -> Option<&Maker> {
        self.maker.iter().find(|maker| maker.name == name)
    }

    pub(super) fn has_empty_prefix(&self) -> bool {
        self.prefix.iter().any(|prefix| prefix.chinese.is_empty())
    }
}

impl Placeholders {
    pub(super) fn holds(&self, value: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(value))
    }
}

const BRAND: [&str; 4] =
    ["ro.product.brand", "ro.product.manufacturer", "ro.product.system.brand", "ro.product.vendor.brand"];
const MODEL: [&str; 3] = ["ro.product.model", "ro.product.system.model", "ro.product.vendor.model"];

pub(super) fn read(
    evidence: &RawEvidence,
    properties: &Properties,
    rules: &Rules,
    warnings: &mut Vec<Reason>,
) -> Naming {
    if !properties.is_android() {
        return board(evidence, properties, rules);
    }
    let is_name = |value: &str| !rules.names().placeholders.holds(value);
    let of = |keys: &[&'static str]| {
        let found = keys.iter().find_map(|key| Some((*key, properties.get(key).filter(|value| is_name(value))?)));
        Reading::from_option(
            found.map(|(key, value)| Found::told(value.to_owned(), quote(key, value))),
            properties.absence(keys),
        )
    };
    let told = of(&BRAND);
    let known = told.present().and_then(|found| rules.brand(&found.value));
    let mut naming = Naming {
        brand: told.clone().map(|found| match known {
            Some(brand) => Found { value: brand.name.clone(), ..found },
            None => found,
        }),
        model: of(&MODEL),
        marketing_name: Reading::absent(match &told {
            Reading::Present(found) => format!("no table says where {} writes it", found.value),
            Reading::Absent(reason) => format!("the brand is not known: {reason}"),
        }),
        chinese_name: Reading::absent(Code::DeviceTellsNone.template()),
    };
    if let Some(known) = known
        && let Some(maker) = rules.names().maker(&known.maker)
    {
        market(&mut naming, evidence, properties, maker, rules);
        if let (Some(name), Some(brand)) = (naming.marketing_name.present(), naming.brand.present())
            && let Some(own) = rules.brand_of_name(&name.value, &known.maker)
            && own.name != brand.value
        {
            let from = format!("{}, within {}", name.from, brand.from);
            naming.brand = Reading::Present(Found::told(own.name.clone(), from));
        }
    }
    if let Some(disputes) = disputes(properties, rules) {
        warnings.push(Reason::new(Code::IdentityDisputed, &[("keys", &disputes)]));
        for fact in [&mut naming.brand, &mut naming.model, &mut naming.marketing_name, &mut naming.chinese_name] {
            if let Reading::Present(found) = fact {
                found.standing = Standing::Disputed;
            }
        }
    }
    naming
}

/// Looks for the names that this maker's phones tell.
fn market(naming: &mut Naming, evidence: &RawEvidence, properties: &Properties, maker: &Maker, rules: &Rules) {
    let keys: Vec<&str> = maker.names.iter().map(String::as_str).collect();
    let mut told: Vec<(String, String)> = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), properties.get(key)?.to_owned())))
        .filter(|(_, value)| !rules.names().placeholders.holds(value))
        .collect();
    let mut absence = properties.absence(&keys);
    if maker.device_name {
        match evidence.said(Piece::DeviceName) {
            Ok(said) if said.whole && said.text != "null" && said.text.lines().count() == 1 => {
                told.push(("settings get global default_device_name".to_owned(), said.text.to_owned()));
            }
            Ok(_) => "the device has no default name".clone_into(&mut absence),
            Err(reason) => absence = reason,
        }
    }
    let best = told.iter().find(|(_, name)| !is_chinese(name)).or(told.first());
    naming.marketing_name =
        Reading::from_option(best.map(|(key, name)| Found::told(rules.latin(name), quote(key, name))), absence);
    if let Some((key, name)) = told.iter().find(|(_, name)| is_chinese(name)) {
        naming.chinese_name = Reading::Present(Found::told(name.clone(), quote(key, name)));
    }
}

impl Rules {
    /// The brand that a property means.
    fn brand(&self, told: &str) -> Option<&Brand> {
        let told = told.to_lowercase();
        self.names().brand.iter().find(|brand| brand.told.contains(&told))
    }

    /// The brand of a maker whose name begins the marketing name.
    fn brand_of_name(&self, name: &str, maker: &str) -> Option<&Brand> {
        let name = name.to_lowercase();
        let mut of_maker = self.names().brand.iter().filter(|brand| brand.maker == maker);
        of_maker.find(|brand| {
            let rest = name.strip_prefix(&brand.name.to_lowercase());
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_lowercase()))
        })
    }

    /// A name with its Chinese beginning in Latin letters.
    fn latin(&self, name: &str) -> String {
        let prefixes = &self.names().prefix;
        let replaced = prefixes.iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix.chinese.as_str())?)));
        match replaced {
            Some((prefix, rest)) => {
                format!("{} {}", prefix.english, self.latin(rest.trim_start())).trim_end().to_owned()
            }
            None => name.to_owned(),
        }
    }
}

fn is_chinese(name: &str) -> bool {
    name.chars().any(|sign| ('\u{4e00}'..='\u{9fff}').contains(&sign))
}

/// Where the product's own properties and those of the vendor's partition name different products. Partitions that
/// name none are passed over; brands of one maker agree.
fn disputes(properties: &Properties, rules: &Rules) -> Option<String> {
    let is_name = |value: &&str| !rules.names().placeholders.holds(value);
    let maker =
        |value: &str| rules.brand(value).map_or_else(|| value.to_lowercase(), |brand| brand.maker.to_lowercase());
    let differ = |key: &str, others: [&str; 2], same: &dyn Fn(&str, &str) -> bool| {
        let own = properties.get(key).filter(is_name)?;
        let (other, value) = properties.first(&others).filter(|(_, value)| is_name(value))?;
        (!same(own, value)).then(|| format!("{} but {}", quote(key, own), quote(other, value)))
    };
    let same_maker = |own: &str, other: &str| maker(own) == maker(other);
    let same_model = |own: &str, other: &str| own.eq_ignore_ascii_case(other);
    let found = [
        differ("ro.product.brand", ["ro.product.vendor.brand", "ro.vendor.product.brand"], &same_maker),
        differ("ro.product.model", ["ro.product.vendor.model", "ro.vendor.product.model"], &same_model),
        differ("ro.product.device", ["ro.product.vendor.device", "ro.vendor.product.device"], &same_model),
        differ(
            "ro.build.fingerprint",
            ["ro.vendor.build.fingerprint", "ro.bootimage.build.fingerprint"],
            &|own, other| {
                maker(own.split('/').next().unwrap_or(own)) == maker(other.split('/').next().unwrap_or(other))
            },
        ),
    ];
    let found: Vec<String> = found.into_iter().flatten().map(|text| super::clip(&text)).collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// A board is what its device tree says.
fn board(evidence: &RawEvidence, properties: &Properties, rules: &Rules) -> Naming {
    let model = match evidence.said(Piece::DeviceTreeModel) {
        Ok(said) if said.whole => {
            Reading::Present(Found::told(said.text.to_owned(), format!("device tree: {}", said.text)))
        }
        Ok(_) => Reading::absent(Code::DeviceTreeCut.template()),
        Err(reason) => Reading::Absent(format!("{}; {reason}", properties.absence(&[]))),
    };
    let compatible = super::chip::compatible(evidence);
    let brand = compatible.as_ref().map_err(Clone::clone).map(|names| {
        names.iter().find_map(|name| {
            let vendor = name.split(',').next()?;
            let board = rules.names().board.iter().find(|board| board.prefix == vendor)?;
            Some(Found::told(board.brand.clone(), format!("device tree: {name}")))
        })
    });
    Naming {
        brand: match brand {
            Ok(found) => Reading::from_option(found, Code::BoardMakerUnknown.template()),
            Err(reason) => Reading::Absent(reason),
        },
        marketing_name: model.clone(),
        model,
        chinese_name: Reading::absent(Code::BoardHasNone.template()),
    }
}
