package org.example.notes;

import com.google.gson.Gson;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** Serves the notes as JSON on port 8080. */
public final class Application {
    public static void main(String[] args) throws Exception {
        Notes notes = new Notes();
        notes.add("Buy milk");
        notes.add("Read the manual");
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/notes", exchange -> {
            byte[] body = new Gson().toJson(notes.all()).getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
