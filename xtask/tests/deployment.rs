//! What docker-compose.yml opens to whom. An engine is not needed for that; the file's own form is enough.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
const PROMETHEUS: &str = include_str!("../../deploy/prometheus.yml");
const COMPOSE_CONFIG: &str = include_str!("../../deploy/compose.toml");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const ADMIN_PORT: &str = "4574";

/// `HOST:PORT:PORT` of every published port; the file writes them in one line a service.
fn published_ports() -> Vec<&'static str> {
    let lists = COMPOSE.lines().filter_map(|line| line.trim().strip_prefix("ports: "));
    lists.flat_map(|list| list.split('"').filter(|part| part.contains(':'))).collect()
}

#[test]
fn ports_are_published_on_loopback_only() {
    let ports = published_ports();
    assert!(ports.contains(&"127.0.0.1:4573:4573"), "{ports:?}");
    assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{ports:?}");
    // One written in another way would have been missed above.
    assert_eq!(COMPOSE.matches("ports:").count(), COMPOSE.matches("ports: [\"").count());
}

#[test]
fn the_admin_listener_is_for_prometheus_and_not_published() {
    assert!(published_ports().iter().all(|port| !port.contains(ADMIN_PORT)));
    assert!(COMPOSE.contains("HYDRANT_ADMIN__LISTEN: 0.0.0.0:4574"));
    assert!(PROMETHEUS.contains("hydrant:4574"));
    let token = COMPOSE.split("HYDRANT_ADMIN__TOKEN: ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(PROMETHEUS.contains(&format!("authorization:\n      credentials: {token}\n")), "{token}");
    assert!(!DOCKERFILE.lines().any(|line| line.starts_with("EXPOSE") && line.contains(ADMIN_PORT)));
}

/// What is between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: char) -> &'a str {
    text.split_once(before).and_then(|(_, rest)| rest.split(after).next()).unwrap()
}

#[test]
fn the_composed_service_verifies_signatures_and_the_docs_say_with_which_key() {
    assert!(!COMPOSE.contains("HYDRANT_AUTH__"));
    assert!(COMPOSE.contains("HYDRANT_CONFIG: /etc/hydrant/hydrant.toml\n"));
    assert!(COMPOSE.contains("./deploy/compose.toml:/etc/hydrant/hydrant.toml:ro\n"));
    let id = between(COMPOSE_CONFIG, "access_key_id = \"", '"');
    let variable = between(COMPOSE_CONFIG, "secret_access_key = { env = \"", '"');
    let secret = between(COMPOSE, &format!("{variable}: ${{{variable}:-"), '}');
    let example = format!("export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} ");
    assert!(OPERATIONS.contains(&example), "{example}");
}

#[test]
fn every_service_that_stays_up_has_a_health_check_and_what_it_keeps_a_named_volume() {
    let services = COMPOSE.split("\nservices:\n").nth(1).unwrap().split("\nvolumes:\n").next().unwrap();
    let lasting = services.matches("    restart: unless-stopped\n").count();
    assert_eq!(services.matches("    healthcheck:\n").count(), lasting);
    let volumes = COMPOSE.split("\nvolumes:\n").nth(1).unwrap();
    let volumes: Vec<&str> = volumes.lines().filter_map(|line| line.trim().strip_suffix(':')).collect();
    assert!(volumes.contains(&"hydrant-log"), "{volumes:?}");
    for volume in volumes {
        assert!(services.contains(&format!("{volume}:/")), "nothing is kept in {volume}");
    }
}
