//! What docker-compose.yml opens to whom. An engine is not needed for that; the file's own form is enough.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
const PROMETHEUS: &str = include_str!("../../deploy/prometheus.yml");
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
    assert!(!DOCKERFILE.lines().any(|line| line.starts_with("EXPOSE") && line.contains(ADMIN_PORT)));
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
