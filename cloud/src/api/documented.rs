//! What the document says of a request's path: its methods, its operation, and the parameters it takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Operations that are called by programs which are not people's and may say more than we know of: edges newer than
/// the cloud, and browsers that a tenant's provider sends back to us.
const CALLED_BY_OTHERS: [&str; 2] = ["/api/edge/", "/api/auth/provider/{tenant}/callback"];

/// The paths there are, those of the document and those outside it.
#[derive(Debug)]
pub(super) struct Documented(Vec<Path>);

#[derive(Debug)]
struct Path {
    segments: Vec<String>,
    /// With the names of the parameters that the query of each may have; `None` where it may have any.
    methods: BTreeMap<String, Option<BTreeSet<String>>>,
}

impl Documented {
    /// Reads them from the document and adds `others`, each of which answers GET and takes any parameter, also where the
    /// document describes it: links in mails and pages get parameters on their way.
    pub(super) fn new(document: &str, others: &[&str]) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let documented = document["paths"].as_object().into_iter().flatten().map(|(path, operations)| {
            let known = |it| if others.contains(&path.as_str()) { None } else { parameters(path, it) };
            let operations = operations.as_object().into_iter().flatten();
            let methods = operations.map(|(method, it)| (method.to_uppercase(), known(it))).collect();
            Path::new(path, methods)
        });
        let others = others.iter().filter(|path| document["paths"][**path].is_null());
        let others = others.map(|path| Path::new(path, BTreeMap::from([("GET".to_owned(), None)])));
        Self(documented.chain(others).collect())
    }

    /// The methods of `path` for the header `Allow`, empty for a path that is not known.
    pub(super) fn methods(&self, path: &str) -> String {
        let methods = self.path(path).map(|known| known.methods.keys().map(String::as_str).collect::<Vec<_>>());
        methods.unwrap_or_default().join(", ")
    }

    /// The operation of a request, as the document writes it: a method and a path with the names of its parameters.
    /// Everything that the document does not have is one operation, so that strangers can't make up more of them.
    pub(super) fn operation(&self, method: &str, path: &str) -> String {
        match self.path(path).filter(|known| known.methods.contains_key(method)) {
            Some(known) => format!("{method} /{}", known.segments.join("/")),
            None => "unknown".to_owned(),
        }
    }

    /// The first parameter of a query that its operation does not take, and those that it does: a filter that is
    /// misspelt must not be one that lets everything through.
    pub(super) fn unknown_parameter(&self, method: &str, path: &str, query: &str) -> Option<(String, Vec<&str>)> {
        let known = self.path(path)?.methods.get(method)?.as_ref()?;
        let mut asked = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        let unknown = asked.find(|name| !known.contains(&**name))?;
        Some((unknown.into_owned(), known.iter().map(String::as_str).collect()))
    }

    /// The name of a parameter in `path` that the framework calls `param0`, `param1` and so on.
    pub(super) fn path_parameter<'a>(&'a self, path: &str, numbered: &'a str) -> &'a str {
        let number = numbered.strip_prefix("param").and_then(|number| number.parse().ok());
        let name = number.and_then(|number: usize| {
            let segments = self.path(path)?.segments.iter();
            segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).nth(number)
        });
        name.unwrap_or(numbered)
    }

    fn path(&self, path: &str) -> Option<&Path> {
        let asked: Vec<_> = segments(path).collect();
        self.0.iter().find(|known| known.fits(&asked))
    }
}

impl Path {
    /// Whatever answers GET answers HEAD.
    fn new(path: &str, mut methods: BTreeMap<String, Option<BTreeSet<String>>>) -> Self {
        if let Some(get) = methods.get("GET").cloned() {
            methods.insert("HEAD".into(), get);
        }
        Self { segments: segments(path).map(Into::into).collect(), methods }
    }

    fn fits(&self, asked: &[&str]) -> bool {
        let fits = |(known, asked): (&String, &&str)| known == asked || known.starts_with('{');
        self.segments.len() == asked.len() && self.segments.iter().zip(asked).all(fits)
    }
}

/// The names of the parameters that the query of an operation may have.
fn parameters(path: &str, operation: &Value) -> Option<BTreeSet<String>> {
    if CALLED_BY_OTHERS.iter().any(|open| path.starts_with(open)) {
        return None;
    }
    let all = operation["parameters"].as_array().into_iter().flatten();
    let of_query = all.filter(|parameter| parameter["in"] == "query");
    Some(of_query.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect())
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_for_paths_with_parameters() {
        let document = r#"{"paths": {"/a/{id}": {"get": {}, "post": {}}, "/a/{id}/b": {"post": {}}}}"#;
        let documented = Documented::new(document, &["/c"]);
        assert_eq!(documented.methods("/a/17"), "GET, HEAD, POST");
        assert_eq!(documented.methods("/a/17/b/"), "POST");
        assert_eq!(documented.methods("/c"), "GET, HEAD");
        assert_eq!(documented.methods("/d"), "");
        let described = Documented::new(r#"{"paths": {"/c": {"get": {}, "post": {}}}}"#, &["/c"]);
        assert_eq!(described.methods("/c"), "GET, HEAD, POST");
        assert_eq!(described.unknown_parameter("POST", "/c", "utm_source=x"), None);
        let operations =
            [("GET", "/a/17"), ("HEAD", "/c"), ("GET", "/a/17/b"), ("GET", "/wp-login.php"), ("BREW", "/c")];
        let operations = operations.map(|(method, path)| documented.operation(method, path));
        assert_eq!(operations, ["GET /a/{id}", "HEAD /c", "unknown", "unknown", "unknown"]);
    }

    #[test]
    fn parameters_of_a_path_have_the_names_of_the_document() {
        let documented = Documented::new(r#"{"paths": {"/a/{kind}/b/{id}": {"get": {}}}}"#, &[]);
        assert_eq!(["param0", "param1"].map(|name| documented.path_parameter("/a/x/b/%2F", name)), ["kind", "id"]);
        assert_eq!(documented.path_parameter("/a/x/b/17", "param2"), "param2");
        assert_eq!(documented.path_parameter("/d", "param0"), "param0");
    }

    #[test]
    fn a_parameter_that_the_operation_does_not_take_is_found_however_it_is_written() {
        let parameters =
            r#"[{"in": "query", "name": "tz"}, {"in": "query", "name": "limit"}, {"in": "path", "name": "id"}]"#;
        let document = format!(
            r#"{{"paths": {{"/a/{{id}}": {{"get": {{"parameters": {parameters}}}, "post": {{}}}},
                "/api/edge/b": {{"get": {{}}}}}}}}"#
        );
        let documented = Documented::new(&document, &["/c"]);
        let unknown = |method, path, query| documented.unknown_parameter(method, path, query).map(|(name, _)| name);
        for query in ["", "tz=UTC", "limit=3&t%7A=UTC&tz=", "&&"] {
            assert_eq!(unknown("GET", "/a/17", query), None, "{query}");
        }
        for (query, name) in [("tz=UTC&time_zone=x", "time_zone"), ("id=3", "id"), ("%74z%20=x", "tz "), ("=", "")] {
            assert_eq!(unknown("HEAD", "/a/17", query).as_deref(), Some(name), "{query}");
        }
        assert_eq!(documented.unknown_parameter("GET", "/a/17", "x").unwrap().1, ["limit", "tz"]);
        assert_eq!(unknown("POST", "/a/17", "x=1").as_deref(), Some("x"));
        for (method, path) in [("GET", "/c"), ("GET", "/d"), ("PUT", "/a/17"), ("GET", "/api/edge/b")] {
            assert_eq!(unknown(method, path, "x=1"), None, "{method} {path}");
        }
    }
}
