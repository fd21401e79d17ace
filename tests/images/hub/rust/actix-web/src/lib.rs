//! A stand-in for actix-web, where that cannot be fetched: GET routes without parameters, text and
//! JSON answers, over tokio. Not for anything but the example.
use std::{collections::HashMap, future::Future, io, net::ToSocketAddrs, pin::Pin, sync::Arc};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

pub struct HttpResponse {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl HttpResponse {
    #[allow(non_snake_case)]
    pub fn Ok() -> Self {
        HttpResponse { status: 200, kind: "text/plain", body: Vec::new() }
    }
    #[allow(non_snake_case)]
    pub fn NotFound() -> Self {
        HttpResponse { status: 404, kind: "text/plain", body: b"not found\n".to_vec() }
    }
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into().into_bytes();
        self
    }
    pub fn json(mut self, value: impl serde::Serialize) -> Self {
        self.kind = "application/json";
        self.body = serde_json::to_vec(&value).expect("a value that JSON can hold");
        self
    }
}

pub trait Responder {
    fn respond(self) -> HttpResponse;
}
impl Responder for HttpResponse {
    fn respond(self) -> HttpResponse {
        self
    }
}
impl Responder for &'static str {
    fn respond(self) -> HttpResponse {
        HttpResponse::Ok().body(self)
    }
}
impl Responder for String {
    fn respond(self) -> HttpResponse {
        HttpResponse::Ok().body(self)
    }
}

type Answer = Pin<Box<dyn Future<Output = HttpResponse> + Send>>;
pub struct Route(Option<Arc<dyn Fn() -> Answer + Send + Sync>>);

impl Route {
    pub fn to<F, R, A>(self, handler: F) -> Self
    where
        F: Fn() -> R + Clone + Send + Sync + 'static,
        R: Future<Output = A> + Send + 'static,
        A: Responder + Send + 'static,
    {
        Route(Some(Arc::new(move || {
            let handler = handler.clone();
            Box::pin(async move { handler().await.respond() })
        })))
    }
}

pub mod web {
    pub fn get() -> super::Route {
        super::Route(None)
    }
}

#[derive(Default)]
pub struct App(HashMap<String, Route>);

impl App {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn route(mut self, path: &str, route: Route) -> Self {
        self.0.insert(path.to_owned(), route);
        self
    }
}

pub struct HttpServer {
    app: Arc<App>,
    listener: Option<std::net::TcpListener>,
}

impl HttpServer {
    pub fn new(factory: impl Fn() -> App) -> Self {
        HttpServer { app: Arc::new(factory()), listener: None }
    }
    pub fn bind(mut self, address: impl ToSocketAddrs) -> io::Result<Self> {
        self.listener = Some(std::net::TcpListener::bind(address)?);
        Ok(self)
    }
    pub async fn run(self) -> io::Result<()> {
        let listener = self.listener.expect("bind() comes first");
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let app = self.app.clone();
            tokio::spawn(async move {
                let _ = serve(app, stream).await;
            });
        }
    }
}

async fn serve(app: Arc<App>, stream: tokio::net::TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let mut header = String::new();
    while stream.read_line(&mut header).await? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let answer = match app.0.get(path) {
        Some(Route(Some(handler))) => handler().await,
        _ => HttpResponse::NotFound(),
    };
    let head = format!(
        "HTTP/1.1 {} -\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status, answer.kind, answer.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&answer.body).await
}
