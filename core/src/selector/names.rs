//! Which names an expression uses, and whether each is one of ours.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::SelectorError;
use super::variables::VARIABLES;
use crate::suite::problem::nearest;

/// Functions, beside the operators and the macros `has`, `all`, `exists` and `exists_one`.
const FUNCTIONS: [&str; 4] = ["size", "contains", "startsWith", "endsWith"];

const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
];

/// What an expression reads.
#[derive(Debug, Default)]
pub(super) struct Used {
    variables: BTreeSet<&'static str>,
    labels_read: BTreeSet<String>,
    /// Labels of which the expression asks whether they are set.
    labels_tested: BTreeSet<String>,
    /// The expression looks at the labels as a whole.
    labels_whole: bool,
}

impl Used {
    pub(super) fn names(&self) -> BTreeSet<String> {
        let labels = self.labels_read.union(&self.labels_tested).map(|label| format!("labels.{label}"));
        self.variables.iter().map(|&name| name.to_owned()).chain(labels).collect()
    }

    /// Variables to set before evaluation.
    pub(super) fn variables(&self) -> impl Iterator<Item = &'static str> {
        let reads_labels = self.labels_whole || !self.labels_read.is_empty() || !self.labels_tested.is_empty();
        let labels = (reads_labels && !self.variables.contains("labels")).then_some("labels");
        self.variables.iter().copied().chain(labels)
    }

    /// Labels that read as "" when they are not set. An expression that asks first sees them as they are.
    pub(super) fn unguarded_labels(&self) -> impl Iterator<Item = &str> {
        let read = self.labels_read.difference(&self.labels_tested).map(String::as_str);
        read.filter(|_| !self.labels_whole)
    }
}

/// Refuses every name and construct that a selector does not know.
pub(super) fn check(expression: &IdedExpr) -> Result<Used, SelectorError> {
    let mut walk = Walk { used: Used::default(), bound: Vec::new(), loops: 0 };
    walk.expression(expression)?;
    Ok(walk.used)
}

struct Walk {
    used: Used,
    /// Variables of the loops around, innermost last.
    bound: Vec<String>,
    loops: usize,
}

impl Walk {
    fn expression(&mut self, expression: &IdedExpr) -> Result<(), SelectorError> {
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(element)),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Map(_) | Expr::Struct(_) => Err(not_allowed("a map", "compare with strings, numbers and lists")),
            Expr::Unspecified => Err(not_allowed("an empty expression", "write `true` to select every device")),
        }
    }

    fn ident(&mut self, name: &str) -> Result<(), SelectorError> {
        if self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        if name == "cpu" {
            return Err(not_allowed("`cpu` alone", "name a part of it, as in `cpu.count`"));
        }
        self.used.labels_whole |= name == "labels";
        self.variable(name)
    }

    fn variable(&mut self, name: &str) -> Result<(), SelectorError> {
        match VARIABLES.iter().find(|variable| variable.name == name) {
            Some(variable) => {
                self.used.variables.insert(variable.name);
                Ok(())
            }
            None => Err(unknown(name, VARIABLES.iter().map(|variable| variable.name))),
        }
    }

    fn select(&mut self, select: &SelectExpr) -> Result<(), SelectorError> {
        match self.group(&select.operand.expr) {
            Some("cpu") => self.variable(&format!("cpu.{}", select.field)),
            Some("labels") if select.test => {
                self.used.labels_tested.insert(select.field.clone());
                Ok(())
            }
            Some("labels") => {
                self.used.labels_read.insert(select.field.clone());
                Ok(())
            }
            _ => {
                self.expression(&select.operand)?;
                Err(not_allowed(&format!("`.{}`", select.field), "only `cpu` and `labels` have parts"))
            }
        }
    }

    /// The group of names that an expression is, unless a loop's variable hides it.
    fn group(&self, expression: &Expr) -> Option<&'static str> {
        let Expr::Ident(name) = expression else { return None };
        if self.bound.contains(name) {
            return None;
        }
        ["cpu", "labels"].into_iter().find(|group| group == name)
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), SelectorError> {
        let name = call.func_name.as_str();
        if name == operators::INDEX {
            return self.index(call);
        }
        if let (operators::IN, [needle, haystack]) = (name, call.args.as_slice())
            && let (Expr::Literal(LiteralValue::String(label)), Some("labels")) =
                (&needle.expr, self.group(&haystack.expr))
        {
            self.used.labels_tested.insert(label.inner().to_owned());
            return Ok(());
        }
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let what = format!("the function `{name}`");
            return Err(not_allowed(
                &what,
                &format!("the functions are {}, has, all, exists and exists_one", FUNCTIONS.join(", ")),
            ));
        }
        call.target.iter().try_for_each(|target| self.expression(target))?;
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }

    /// `labels["rack-row"]`, for names that are no identifiers.
    fn index(&mut self, call: &CallExpr) -> Result<(), SelectorError> {
        match call.args.as_slice() {
            [operand, key] if self.group(&operand.expr) == Some("labels") => {
                let Expr::Literal(LiteralValue::String(label)) = &key.expr else {
                    return Err(not_allowed("a computed label", "name the label, as in `labels[\"shelf\"]`"));
                };
                self.used.labels_read.insert(label.inner().to_owned());
                Ok(())
            }
            _ => Err(not_allowed("an index", "ask whether a list holds something, as in `\"i8mm\" in cpu.features`")),
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Result<(), SelectorError> {
        let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, loop_cond, loop_step, result } =
            comprehension;
        if self.loops > 0 {
            return Err(not_allowed(
                "a loop within a loop",
                "write `all`, `exists` and `exists_one` beside each other",
            ));
        }
        if matches!(accu_init.expr, Expr::List(_)) {
            return Err(not_allowed("a loop that builds a list", "use `all`, `exists` or `exists_one`"));
        }
        self.expression(iter_range)?;
        self.expression(accu_init)?;
        let outer = self.bound.len();
        self.bound.extend([iter_var.clone(), accu_var.clone()]);
        self.bound.extend(iter_var2.clone());
        self.loops += 1;
        for inner in [loop_cond, loop_step, result] {
            self.expression(inner)?;
        }
        self.loops -= 1;
        self.bound.truncate(outer);
        Ok(())
    }
}

fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> SelectorError {
    let known: Vec<&str> = known.collect();
    let within = name.split_once('.').map(|(group, _)| format!("{group}."));
    let listed = known.iter().filter(|known| within.as_ref().is_none_or(|group| known.starts_with(group.as_str())));
    SelectorError::UnknownName {
        name: name.chars().take(80).collect(),
        nearest: nearest(name, known.iter().copied()).map(str::to_owned),
        known: listed.map(|&known| known.to_owned()).collect(),
    }
}

fn not_allowed(what: &str, instead: &str) -> SelectorError {
    SelectorError::NotAllowed { what: what.chars().take(120).collect(), instead: instead.to_owned() }
}
