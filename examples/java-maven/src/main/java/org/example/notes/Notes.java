package org.example.notes;

import java.util.ArrayList;
import java.util.List;

/** A list of notes without blank ones. */
public final class Notes {
    private final List<String> texts = new ArrayList<>();

    public void add(String text) {
        if (text.isBlank()) {
            throw new IllegalArgumentException("a note needs a text");
        }
        texts.add(text.strip());
    }

    public List<String> all() {
        return List.copyOf(texts);
    }
}
