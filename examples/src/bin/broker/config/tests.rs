//! The configuration: what is documented is understood, what is wrong is named.

use super::*;

/// The documented file: explanations are `# text`, defaults are `#key = value`.
const DOCUMENTED: &str = include_str!("../../../../broker.toml");

fn with_defaults_written_out() -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned(),
        _ => line.to_owned(),
    };
    DOCUMENTED.lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

/// The lines `#   key = value` that document a table of `listen`.
fn of_listeners() -> Vec<&'static str> {
    let keys = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("#   "));
    keys.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ")).collect()
}

#[test]
fn every_key_of_a_listener_is_documented_and_understood() {
    let written = format!("[[listen]]\n{}", of_listeners().join("\n"));
    let settings = Settings::parse(&written).unwrap();
    let keys = format!("{:#?}", settings.listeners.first().unwrap());
    // one level down: the keys themselves
    let keys = keys.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    for (key, value) in keys.filter(|(key, _)| !key.starts_with(' ')) {
        assert!(of_listeners().iter().any(|line| line.starts_with(&format!("{key} = "))), "{key} is not documented");
        assert_ne!(value, "None,", "{key}");
    }
}

#[test]
fn a_listener_is_told_to_the_core_by_its_number_with_what_it_leaves_out() {
    let text = "[[listen]]\naddress = \"127.0.0.1:1\"\n\n[[listen]]\naddress = \"127.0.0.1:2\"\nmax_packet_size = 64\n\
                max_qos = 1\nclient_bytes_per_s = 5\nversions = [\"5.0\"]\n\n[limits]\nreceive_maximum = 7\nclient_messages_per_s = 9\n";
    let settings = Settings::parse(text).unwrap();
    assert_eq!(settings.packet_sizes(), [1 << 20, 64]);
    assert_eq!(settings.core.listeners.len(), 1, "the first is as all are");
    let second = settings.core.listeners.get(&1).unwrap();
    let server = second.server.as_ref().unwrap();
    assert_eq!((server.maximum_qos as u8, server.receive_maximum), (1, 7));
    let rates = second.client_rates.unwrap();
    assert_eq!((rates.messages.unwrap().per_second, rates.bytes.unwrap().per_second), (9, 5));
    assert_eq!(second.versions, Some(mqtt_broker_core::Versions { v31: false, v311: false, v5: true }));
}

#[test]
fn a_wrong_key_or_value_is_named_with_its_line_at_every_kind_of_listener() {
    let tls = "tls = { certificate = \"c\", key = \"k\" }";
    let kinds = [
        ("127.0.0.1:1", String::new()),
        ("127.0.0.1:1", tls.to_owned()),
        ("127.0.0.1:1", "websocket = true".to_owned()),
        ("127.0.0.1:1", format!("websocket = true\n{tls}")),
        ("127.0.0.1:1", "proxy_protocol = true".to_owned()),
        ("unix:/run/mqtt.sock", String::new()),
    ];
    let rows = [
        ("max_packet_sise = 5", "unknown key `max_packet_sise`"),
        ("max_packet_size = 0", "invalid value: integer `0`"),
        ("max_connections = \"many\"", "invalid type: string \"many\""),
        ("versions = []", "no version: nobody could connect"),
        ("max_qos = 3", "`3` is no QoS"),
        ("client_bytes_per_s = -1", "invalid value: integer `-1`"),
    ];
    for (address, more) in &kinds {
        for (wrong, expected) in rows {
            let head = format!("[[listen]]\naddress = \"{address}\"\n{more}\n");
            let line = head.lines().count() + 1;
            let error = Settings::parse(&format!("{head}{wrong}\n")).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: `{wrong}`: {expected}")), "{more} {wrong}: {error}");
        }
    }
    for (tls, expected) in [
        ("{ certificate = \"c\", key = \"k\", keys = 1 }", "unknown key `keys`"),
        ("{ certificate = \"c\", key = 1 }", "invalid type: integer `1`"),
        ("{ certificate = \"c\" }", "missing key `key`"),
    ] {
        let error = Settings::parse(&format!("[[listen]]\naddress = \"1.2.3.4:5\"\ntls = {tls}\n")).unwrap_err();
        assert!(error.starts_with("line 3: ") && error.contains(expected), "{error}");
    }
    let error = Settings::parse("[[listen]]\naddress = \"unix:/x\"\nproxy_protocol = true\n").unwrap_err();
    assert!(error.starts_with("line 1: ") && error.contains("not for unix sockets"), "{error}");
}

#[test]
fn the_documented_file_is_a_valid_one_that_changes_nothing() {
    let settings = Settings::parse(DOCUMENTED).unwrap();
    assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
}

#[test]
fn groups_share_as_their_names_say() {
    let settings = Settings::parse("[offer]\nshare_by_group = { jobs = \"least-inflight\" }").unwrap();
    let rule = mqtt_broker_core::SharedRule::group("jobs", mqtt_broker_core::Strategy::LeastInflight);
    assert_eq!(settings.core.shared.rules, [rule]);
}

#[test]
fn the_file_for_a_deployment_is_understood() {
    let settings = Settings::parse(include_str!("../../../../deploy/broker.toml")).unwrap();
    assert!(settings.listeners.iter().all(|listener| listener.tls.is_some() && !settings.lets_anybody_in(listener)));
}

#[test]
fn the_example_of_the_readme_is_understood() {
    let readme = include_str!("../../../../../README.md");
    let running = readme.split_once("## Running the broker").unwrap().1;
    let example = running.split_once("```toml").unwrap().1.split_once("```").unwrap().0;
    let mut settings = Settings::parse(example).unwrap();
    assert!(settings.settle_durability().is_ok());
    assert_eq!((settings.listeners.len(), settings.core.listeners.len()), (4, 2));
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let mut settings = Settings::parse(&with_defaults_written_out()).unwrap();
    // these have no default that could be written: the examples stand for them
    assert_eq!(settings.password_file.take(), Some(PathBuf::from("passwords")));
    assert_eq!(settings.acl_file.take(), Some(PathBuf::from("acl")));
    assert_eq!(settings.allow_anonymous.take(), Some(false));
    assert_eq!(settings.admin.take().map(|admin| admin.address.port()), Some(9883));
    assert_eq!(settings.hook.take().map(|hook| hook.timeout), Some(Duration::from_secs(2)));
    assert_eq!(settings.data.take(), Some(PathBuf::from("data")));
    assert_eq!(settings.durability.take(), Some(HowDurable::Synced));
    let core = &mut settings.core;
    assert_eq!(core.server.maximum_keep_alive.take(), Some(3600));
    assert_eq!((core.message_expiry.take(), core.max_message_expiry.take()), (Some(86_400), Some(604_800)));
    let rates = std::mem::take(&mut core.client_rates);
    let counts = [rates.messages, rates.bytes, core.address_rate.take(), core.admission_rate.take()];
    assert_eq!(counts.map(|rate| rate.unwrap().per_second), [1_000, 1_048_576, 20, 500]);
    assert_eq!(core.sys_interval.take(), Some(Duration::from_secs(10)));
    assert_eq!(core.flapping.take().map(|flapping| flapping.ban_for), Some(Duration::from_secs(300)));
    assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
}

#[test]
fn a_folder_makes_everything_synced_that_is_not_said_to_be_less() {
    let rows = [
        ("", Some(Durability::None)),
        ("data = \"d\"", Some(Durability::Synced)),
        ("data = \"d\"\ndurability = \"buffered\"", Some(Durability::Buffered)),
        ("data = \"d\"\ndurability = \"none\"", Some(Durability::None)),
        ("durability = \"none\"", Some(Durability::None)),
        ("durability = \"synced\"", None),
        ("[[listen]]\naddress = \"127.0.0.1:1\"\ndurability = \"buffered\"", None),
    ];
    for (text, expected) in rows {
        let mut settings = Settings::parse(text).unwrap();
        let settled = settings.settle_durability().map(|()| settings.core.durability);
        assert_eq!(settled.ok(), expected, "{text}");
    }
}

#[test]
fn every_key_is_documented() {
    let written: File = toml::from_str(&with_defaults_written_out()).unwrap();
    let keys = format!("{written:#?}");
    for key in keys.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key) {
        // keys of tables that are written on one line
        let tables = [
            "token",
            "connects",
            "within_s",
            "ban_s",
            "url",
            "events",
            "authorization",
            "ca_file",
            "timeout",
            "threads",
            "queue",
        ];
        let written = match key {
            "v31" | "v311" | "v5" => true, // within `versions`
            key if tables.contains(&key) => DOCUMENTED.contains(key),
            key if of_listeners().iter().any(|line| line.starts_with(&format!("{key} = "))) => true,
            key => DOCUMENTED.contains(&format!("#{key} = ")) || DOCUMENTED.contains(&format!("[{key}]")),
        };
        assert!(written, "{key} is not documented");
    }
}

#[test]
fn an_error_names_the_key_the_value_and_the_line() {
    let rows = [
        ("max_conections = 5", "line 1: `max_conections = 5`: unknown key `max_conections`"),
        (
            "\n[limits]\nmax_connections = \"many\"",
            "line 3: `max_connections = \"many\"`: invalid type: string \"many\"",
        ),
        ("[limits]\nmax_connections = 0", "line 2: `max_connections = 0`: invalid value: integer `0`"),
        ("[limits]\nqueue_messages = -1", "line 2: `queue_messages = -1`: invalid value: integer `-1`"),
        ("[limits]\noverflow = \"explode\"", "line 2: `overflow = \"explode\"`: unknown variant `explode`"),
        ("[limits]\nmax_conections = 5", "line 2: `max_conections = 5`: unknown key `max_conections`"),
        ("\nlisten = [\"localhost\"]", "line 2: `listen = [\"localhost\"]`: `localhost` is no IP address"),
        ("[[listen]]\naddress = \"1.2.3.4\"", "line 2: `address = \"1.2.3.4\"`: `1.2.3.4` is no IP address"),
        ("[[listen]]\naddress = \"1.2.3.4:5\"\ntsl = true", "line 3: `tsl = true`: unknown key `tsl`"),
        ("[[listen]]\naddress = \"unix:\"", "line 2: `address = \"unix:\"`: `unix:` names no file"),
        ("admin = { address = \"here\" }", "line 1: `admin = { address = \"here\" }`: `here` is no IP address"),
        ("hook = { url = \"here\" }", "line 1: `hook = { url = \"here\" }`: `here` is no URL"),
        ("hook = { url = \"https://h/\" }", "line 1: `hook = { url = \"https://h/\" }`: with https, `ca_file`"),
        (
            "[hook]\nurl = \"http://h/\"\nevents = [\"conect\"]",
            "line 3: `events = [\"conect\"]`: unknown variant `conect`",
        ),
        ("[hook]\nurl = \"http://h/\"\ntimeout_s = 1", "line 3: `timeout_s = 1`: unknown key `timeout_s`"),
        ("[hook]\nurl = \"http://h/\"\nthreads = 0", "line 3: `threads = 0`: invalid value: integer `0`"),
        ("trace_topics = [\"a#\"]", "line 1: `trace_topics = [\"a#\"]`: `a#` is no topic filter"),
        ("log_format = \"xml\"", "line 1: `log_format = \"xml\"`: unknown variant `xml`"),
        ("listen = []", "line 1: `listen = []`: nowhere to listen"),
        ("[[listen]]\nallow_anonymous = true", "line 1: `[[listen]]`: missing key `address`"),
        (
            "[offer]\nshare_by_group = { jobs = \"first\" }",
            "line 2: `share_by_group = { jobs = \"first\" }`: unknown variant `first`",
        ),
        ("[offer]\nmax_qos = 3", "line 2: `max_qos = 3`: `3` is no QoS"),
        ("[offer]\nversions = [\"4\"]", "line 2: `versions = [\"4\"]`: `4` is no version"),
        (
            "allow_anonymous = \"yes\"",
            "line 1: `allow_anonymous = \"yes\"`: invalid type: string \"yes\", expected a boolean",
        ),
        ("allow_anonymous = ", "line 1: `allow_anonymous =`: "),
    ];
    for (text, expected) in rows {
        let error = Settings::parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{text:?}\n  gave     {error}\n  expected {expected}");
    }
}

#[test]
fn anybody_is_let_in_on_loopback_without_passwords_or_where_it_is_written_out() {
    let rows = [
        ("", "127.0.0.1:1", true),
        ("", "[::1]:1", true),
        ("", "[::ffff:127.0.0.1]:1", true),
        ("", "0.0.0.0:1", false),
        ("", "192.0.2.1:1", false),
        ("password_file = \"p\"", "127.0.0.1:1", false),
        ("allow_anonymous = true", "0.0.0.0:1", true),
        ("allow_anonymous = true\npassword_file = \"p\"", "0.0.0.0:1", true),
        ("allow_anonymous = false", "127.0.0.1:1", false),
    ];
    for (text, address, expected) in rows {
        let settings = Settings::parse(text).unwrap();
        let listener = Listener::new(address.parse().unwrap());
        assert_eq!(settings.lets_anybody_in(&listener), expected, "{text:?} {address}");
        let mut exception = listener;
        exception.allow_anonymous = Some(!expected);
        assert_eq!(settings.lets_anybody_in(&exception), !expected, "the listener's own word counts");
    }
}
