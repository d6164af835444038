//! Apple's privacy manifest against the library: an app is turned away by the store if it uses a
//! "required reason API" and no manifest gives a reason for that category.

use std::collections::{BTreeMap, BTreeSet};

use super::plist::Value;

/// The C functions among Apple's required reason APIs, by category.
const CATEGORIES: [(&str, &[&str]); 3] = [
    (
        "NSPrivacyAccessedAPICategoryFileTimestamp",
        &[
            "stat",
            "fstat",
            "lstat",
            "fstatat",
            "getattrlist",
            "fgetattrlist",
            "getattrlistat",
            "getattrlistbulk",
        ],
    ),
    (
        "NSPrivacyAccessedAPICategoryDiskSpace",
        &["statfs", "fstatfs", "statvfs", "fstatvfs"],
    ),
    (
        "NSPrivacyAccessedAPICategorySystemBootTime",
        &["mach_absolute_time"],
    ),
];

/// What is wrong with a manifest for a library that asks the system for `undefined` names, a
/// sentence each: a category without a reason, and a reason without a use.
pub(crate) fn faults(manifest: &Value, undefined: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let declared: BTreeMap<&str, usize> = manifest
        .get_list("NSPrivacyAccessedAPITypes")
        .iter()
        .filter_map(|entry| {
            let reasons = entry.get_list("NSPrivacyAccessedAPITypeReasons").len();
            Some((entry.get_text("NSPrivacyAccessedAPIType")?, reasons))
        })
        .collect();
    for (category, functions) in CATEGORIES {
        let used = undefined.iter().find(|name| {
            // C names have an underscore before them, and on x86-64 a variant after them.
            let name = name.strip_prefix('_').unwrap_or(name);
            functions.contains(&name.split('$').next().unwrap_or(name))
        });
        match (used, declared.get(category)) {
            (Some(name), None | Some(0)) => faults.push(format!(
                "it uses {name}, and the privacy manifest gives no reason for {category}"
            )),
            (None, Some(_)) => faults.push(format!(
                "the privacy manifest has {category}, which nothing uses"
            )),
            _ => {}
        }
    }
    if manifest.get("NSPrivacyTracking") != Some(&Value::Truth(false)) {
        faults.push("the privacy manifest does not say that nothing is tracked".into());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(categories: &[(&str, &[&str])]) -> Value {
        let entry = |&(category, reasons): &(&str, &[&str])| {
            let reasons = reasons.iter().map(|reason| Value::text(reason)).collect();
            Value::dict([
                ("NSPrivacyAccessedAPIType", Value::text(category)),
                ("NSPrivacyAccessedAPITypeReasons", Value::List(reasons)),
            ])
        };
        Value::dict([
            ("NSPrivacyTracking", Value::Truth(false)),
            (
                "NSPrivacyAccessedAPITypes",
                Value::List(categories.iter().map(entry).collect()),
            ),
        ])
    }

    #[test]
    fn a_use_needs_a_reason_and_a_reason_a_use() {
        let category = CATEGORIES[0].0;
        let used = BTreeSet::from(["_fstat$INODE64".to_owned(), "_malloc".to_owned()]);
        let with = manifest(&[(category, &["C617.1"])]);
        assert_eq!(faults(&with, &used), Vec::<String>::new());
        assert_eq!(
            faults(&manifest(&[]), &used),
            [format!(
                "it uses _fstat$INODE64, and the privacy manifest gives no reason for {category}"
            )]
        );
        assert_eq!(faults(&manifest(&[(category, &[])]), &used).len(), 1);
        assert_eq!(
            faults(&with, &BTreeSet::new()),
            [format!(
                "the privacy manifest has {category}, which nothing uses"
            )]
        );
        assert_eq!(faults(&Value::dict([]), &BTreeSet::new()).len(), 1);
    }
}
