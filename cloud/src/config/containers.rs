//! What the shipped Dockerfile and compose file make of the settings, read from these files: the program takes them, its
//! data comes to lie in the volume, and what is nobody else's business stays out of the image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

use super::Config;

const DOCKERFILE: &str = include_str!("../../Dockerfile");
const COMPOSE: &str = include_str!("../../compose.yml");
/// The variables of the profile `production`.
const EXAMPLE: &str = include_str!("../../compose.env.example");
const NGINX: &str = include_str!("../../nginx.conf");
const LEFT_OUT_OF_GIT: &str = include_str!("../../../.gitignore");
const LEFT_OUT_OF_THE_IMAGE: &str = include_str!("../../../.dockerignore");
const URL: &str = "postgres://aivms:secret@database/aivms?sslmode=disable";

type Variables = BTreeMap<String, String>;

/// Where and with what the program starts.
struct Container {
    environment: Variables,
    folder: PathBuf,
    volume: PathBuf,
    settings: Option<PathBuf>,
}

impl Container {
    /// The last stage of the Dockerfile.
    fn image() -> Self {
        let lines = DOCKERFILE.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let lines = lines.replace("\\\n", " ");
        let stage: Vec<_> = lines.rsplit("FROM ").next().unwrap().lines().collect();
        let said = |word: &str| stage.iter().find_map(|line| line.strip_prefix(word)).unwrap().trim();
        let environment = said("ENV ").split_whitespace().map(pair).collect();
        Self { environment, folder: said("WORKDIR ").into(), volume: said("VOLUME ").into(), settings: None }
    }

    /// A service of the compose file that runs the image, while `variables` are set.
    fn service(service: &Yaml, variables: &Variables) -> Self {
        let mut container = Self::image();
        for (name, value) in service["environment"].as_hash().unwrap() {
            let value = filled_in(value.as_str().unwrap(), variables);
            container.environment.insert(name.as_str().unwrap().to_owned(), value);
        }
        let mounts = mounts(service, variables);
        let named = |place: &str| COMPOSE.contains(&format!("\n  {place}:\n"));
        assert!(named(&mounts[container.volume.to_str().unwrap()]), "its data is in a volume: {mounts:?}");
        let words: Vec<_> = texts(&service["command"]).collect();
        let settings = words.iter().skip_while(|word| **word != "--config").nth(1);
        container.settings = settings.map(|place| Path::new(env!("CARGO_MANIFEST_DIR")).join(&mounts[*place]));
        container
    }

    /// What the program goes by in it, with all that it keeps in the volume.
    fn starts(&self) -> Config {
        let variable = |name: &str| self.environment.get(name).cloned();
        let config = Config::load(self.settings.as_deref(), variable).unwrap();
        for place in [&config.database_path, &config.data_dir(), &config.clip_upload_dir] {
            let place = self.folder.join(place);
            assert!(place.starts_with(&self.volume) && place != self.volume, "{}", place.display());
        }
        config
    }
}

fn services() -> Yaml {
    YamlLoader::load_from_str(COMPOSE).unwrap().remove(0)["services"].clone()
}

/// What lies where in a service, by the place inside.
fn mounts(service: &Yaml, variables: &Variables) -> Variables {
    let mount = |text: &str| {
        let text = filled_in(text, variables);
        let parts: Vec<_> = text.split(':').collect();
        (parts[1].to_owned(), parts[0].to_owned())
    };
    texts(&service["volumes"]).map(mount).collect()
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

fn texts(list: &Yaml) -> impl Iterator<Item = &str> {
    list.as_vec().unwrap().iter().map(|item| item.as_str().unwrap())
}

/// Puts variables in the place of `${NAME}` and `${NAME:-default}`.
fn filled_in(text: &str, variables: &Variables) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (name, after) = rest.split_once('}').unwrap();
    let (name, default) = name.split_once(":-").unwrap_or((name, ""));
    let value = variables.get(name).filter(|value| !value.is_empty()).map_or(default, String::as_str);
    format!("{before}{value}{}", filled_in(after, variables))
}

#[test]
fn the_image_starts_with_either_database_and_keeps_its_data_in_the_volume() {
    let mut image = Container::image();
    assert!(image.starts().postgres().unwrap().is_none());
    image.environment.insert("DATABASE_URL".to_owned(), URL.to_owned());
    assert!(image.starts().postgres().unwrap().is_some());
}

#[test]
fn every_profile_of_the_compose_file_starts_and_keeps_its_data_in_the_volume() {
    let services = services();
    let is_ours = |service: &&Yaml| service["build"]["dockerfile"].as_str() == Some("cloud/Dockerfile");
    let ours: Vec<_> = services.as_hash().unwrap().values().filter(is_ours).collect();
    assert!(!ours.is_empty());
    let set = |line: &&str| !line.starts_with('#') && line.contains('=');
    let production: Variables = EXAMPLE.lines().filter(set).map(pair).collect();
    assert!(production.contains_key("DATABASE_URL"));
    for (variables, postgres) in [(Variables::new(), false), (production, true)] {
        for service in &ours {
            let config = Container::service(service, &variables).starts();
            assert_eq!(config.postgres().unwrap().is_some(), postgres);
        }
    }
}

#[test]
fn what_the_configuration_of_nginx_names_is_mounted_in_its_service() {
    let mounts = mounts(&services()["nginx"], &Variables::new());
    let named = |line: &str| {
        let (word, place) = line.trim().strip_suffix(';')?.split_once(' ')?;
        ["ssl_certificate", "ssl_certificate_key", "root"].contains(&word).then(|| place.to_owned())
    };
    let named: Vec<_> = NGINX.lines().filter_map(named).collect();
    assert!(named.len() >= 3, "{named:?}");
    for place in named {
        assert!(mounts.keys().any(|mount| Path::new(&place).starts_with(mount)), "{place}");
    }
}

#[test]
fn secrets_and_build_outputs_beside_the_compose_file_are_left_out_of_git_and_of_the_image() {
    let names = |text: &'static str| text.lines().map(|line| line.trim_matches('/')).collect::<Vec<_>>();
    let (git, image) = (names(LEFT_OUT_OF_GIT), names(LEFT_OUT_OF_THE_IMAGE));
    let mounts = mounts(&services()["nginx"], &Variables::new());
    let kept = ["/etc/nginx/tls", "/var/www/acme"].map(|place| mounts[place].replacen('.', "cloud", 1));
    let others = ["cloud/.env", "target", ".cache", ".run"].map(str::to_owned);
    for name in kept.into_iter().chain(others) {
        assert!(git.contains(&name.as_str()) && image.contains(&name.as_str()), "{name}");
    }
    assert!(image.contains(&".git"));
}
