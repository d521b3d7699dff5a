//! Holds `docs/ref/settings.md` to the program: every key with its default, every variable with its effect.

use super::Config;

const PAGE: &str = include_str!("../../../docs/ref/settings.md");

/// A row of the page.
#[derive(Debug)]
struct Row {
    /// Empty for the keys at the top.
    table: String,
    key: String,
    default: Option<String>,
    variable: Option<String>,
}

fn rows() -> Vec<Row> {
    let mut table = String::new();
    let mut rows = Vec::new();
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = heading.trim_matches(['`', '[', ']']).to_owned();
        }
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
        let code = |cell: &str| cell.strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
        if let [key, default, variable, _meaning, ..] = &cells[..]
            && let Some(key) = code(key)
        {
            let table = if table == "At the top" { String::new() } else { table.clone() };
            rows.push(Row { table, key, default: code(default), variable: code(variable) });
        }
    }
    rows
}

/// The keys the program knows in a table, as it names them itself when it meets one that it does not know.
fn known(table: &str) -> Vec<String> {
    let text = if table.is_empty() { "bogus = 1".to_owned() } else { format!("[{table}]\nbogus = 1") };
    let error = Config::from_toml(&text).unwrap_err();
    let (_, names) = error.split_once("expected ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_has_every_setting_and_no_other() {
    let top = known("");
    let is_table = |name: &String| Config::from_toml(&format!("[{name}]")).is_ok();
    let (tables, keys): (Vec<_>, Vec<_>) = top.into_iter().partition(is_table);
    let of_tables = tables.iter().flat_map(|table| known(table).into_iter().map(|key| (table.clone(), key)));
    let mut wanted: Vec<_> = keys.into_iter().map(|key| (String::new(), key)).chain(of_tables).collect();
    let mut found: Vec<_> = rows().into_iter().map(|row| (row.table, row.key)).collect();
    wanted.sort();
    found.sort();
    for setting in &wanted {
        assert!(found.contains(setting), "{setting:?} needs a row in docs/ref/settings.md");
    }
    assert_eq!(found, wanted);
    assert!(wanted.len() > 40);
}

#[test]
fn the_defaults_in_the_reference_are_those_of_the_program() {
    let mut text = String::new();
    let mut table = String::new();
    for row in rows() {
        if row.table != table {
            table.clone_from(&row.table);
            text += &format!("[{table}]\n");
        }
        if let Some(default) = row.default {
            text += &format!("{} = {default}\n", row.key);
        }
    }
    let written = Config::from_toml(&text).unwrap().to_toml().unwrap();
    assert_eq!(written, Config::default().to_toml().unwrap());
    // What is not said to have a default has none.
    for row in rows().iter().filter(|row| row.default.is_none()) {
        let shown: toml::Table = toml::from_str(&Config::default().to_toml().unwrap()).unwrap();
        let table = if row.table.is_empty() { Some(&shown) } else { shown[&row.table].as_table() };
        assert!(table.is_some_and(|table| !table.contains_key(&row.key)), "{row:?}");
    }
}

#[test]
fn each_variable_in_the_reference_sets_its_setting() {
    let mut variables = 0;
    for row in rows() {
        let Some(variable) = row.variable else { continue };
        // Something each of them takes.
        let value = match variable.as_str() {
            name if name.ends_with("PORT") || name.ends_with("SECONDS") => "17",
            "WEBHOOK_SECRET" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "DATABASE_URL" => "postgres://user@host/name",
            "WEBHOOK_URL" => "https://hooks.example.com/x",
            "SERVERS_BIND" => "10.0.0.5:7443",
            "SERVERS_ADDRESS" => "cloud-1:7443",
            _ => "01234567890123456789012345678901234567890123456789",
        };
        // One of them is of no use without another.
        let beside =
            |name: &str| (variable == "SERVERS_ADDRESS" && name == "SERVERS_BIND").then(|| "0.0.0.0:7443".into());
        let environment = |name: &str| if name == variable { Some(value.to_owned()) } else { beside(name) };
        let set = Config::load(None, environment).unwrap().to_toml().unwrap();
        let line =
            |text: &str| text.lines().filter(|line| line.starts_with(&row.key)).map(str::to_owned).collect::<Vec<_>>();
        assert_ne!(line(&set), line(&Config::default().to_toml().unwrap()), "{variable} must set {}", row.key);
        variables += 1;
    }
    assert!(variables >= 6);
}
