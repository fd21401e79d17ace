use actix_web::{web, App, HttpResponse, HttpServer, Responder};
use serde::Serialize;

#[derive(Serialize)]
struct Planet {
    name: &'static str,
    moons: u32,
}

const PLANETS: [Planet; 3] = [
    Planet { name: "Earth", moons: 1 },
    Planet { name: "Mars", moons: 2 },
    Planet { name: "Venus", moons: 0 },
];

async fn planets() -> impl Responder {
    HttpResponse::Ok().json(&PLANETS)
}

async fn health() -> impl Responder {
    "ok\n"
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(|| {
        App::new()
            .route("/planets", web::get().to(planets))
            .route("/health", web::get().to(health))
    })
    .bind(("0.0.0.0", 8080))?
    .run()
    .await
}
