package org.example.notes;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import java.util.List;
import org.junit.Test;

public class NotesTest {
    @Test
    public void keepsTheOrder() {
        Notes notes = new Notes();
        notes.add("first");
        notes.add(" second ");
        assertEquals(List.of("first", "second"), notes.all());
    }

    @Test
    public void refusesBlankNotes() {
        assertThrows(IllegalArgumentException.class, () -> new Notes().add("  "));
    }
}
