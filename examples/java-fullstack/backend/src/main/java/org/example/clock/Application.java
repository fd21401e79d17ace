package org.example.clock;

import com.google.gson.Gson;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalTime;
import java.time.temporal.ChronoUnit;

/** The time at /api/time, the frontend's files elsewhere. */
public final class Application {
    private static final Path PUBLIC = Path.of("public").toAbsolutePath();

    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/api/time", exchange -> answer(exchange, 200,
                new Gson().toJson(LocalTime.now().truncatedTo(ChronoUnit.SECONDS).toString()).getBytes()));
        server.createContext("/", Application::file);
        server.start();
    }

    private static void file(HttpExchange exchange) throws IOException {
        String name = exchange.getRequestURI().getPath().substring(1);
        Path path = PUBLIC.resolve(name.isEmpty() ? "index.html" : name).normalize();
        if (path.startsWith(PUBLIC) && Files.isRegularFile(path)) {
            answer(exchange, 200, Files.readAllBytes(path));
        } else {
            answer(exchange, 404, "not found\n".getBytes());
        }
    }

    private static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
