//! Every chat template of the golden data renders to what Jinja2 makes of it.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use dormouse::Error;
use dormouse::template::ChatTemplate;
use serde_json::Value;

/// Whether `why` is `words` as far as they are the template's own.
fn raised(why: &str, words: &str) -> bool {
    match why.strip_suffix('…') {
        Some(beginning) => words.starts_with(beginning),
        None => why.contains(words),
    }
}

#[test]
fn templates_render_as_in_jinja2() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/chat_templates.json"
    );
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let now = golden["now"].as_str().unwrap().parse().unwrap();
    let templates: HashMap<&str, ChatTemplate> = golden["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| {
            let source = template["source"].as_str().unwrap();
            let compiled = ChatTemplate::new(source, "<s>", "</s>").unwrap();
            (template["name"].as_str().unwrap(), compiled)
        })
        .collect();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 90, "{} cases are left", cases.len());
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let name = case["template"].as_str().unwrap();
        let variables = case["variables"].as_object().unwrap().clone();
        let ours = templates[name].render_variables(variables, Some(now));
        let good = match (&ours, case["output"].as_str(), case["error"].as_str()) {
            (Ok(text), Some(expected), None) => text == expected,
            (Err(Error::Template { why }), None, Some(words)) => raised(why, words),
            _ => false,
        };
        if !good {
            wrong.push(format!(
                "case {index} ({name}): {ours:?}\nwanted {} {}",
                case["output"], case["error"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
