import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.model.Type;
import ca.uhn.hl7v2.parser.PipeParser;
import ca.uhn.hl7v2.util.Terser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Reads file names on standard input; answers each with one JSON line: what every order, report or patient of the
 * message holds, as HAPI's parser groups it and Terser reads it, or HAPI's error.
 */
public class Fields {
    private static final Set<String> SEGMENTS =
            Set.of("MSH", "PID", "PV1", "MRG", "ORC", "OBR", "TQ1", "IPC", "ZDS", "OBX");

    public static void main(String[] args) throws Exception {
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.US_ASCII);
        System.setOut(System.err);
        try (HapiContext context = new DefaultHapiContext(ValidationContextFactory.noValidation())) {
            context.getParserConfiguration().setAllowUnknownVersions(true);
            context.getParserConfiguration().setDefaultObx2Type("ST");
            context.getParserConfiguration().setInvalidObx2Type("ST");
            PipeParser parser = context.getPipeParser();
            BufferedReader names = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String name = names.readLine(); name != null; name = names.readLine()) {
                answers.println(Json.of(answer(parser, name)));
            }
        }
    }

    private static Map<String, Object> answer(PipeParser parser, String name) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("file", name);
        try {
            Message message = parser.parse(Wire.received(Path.of(name)));
            answer.put("version", message.getVersion());
            answer.put("structure", message.getClass().getSimpleName());
            List<Object> rows = new ArrayList<>();
            for (List<Segment> row : Rows.of(message)) {
                rows.add(read(row));
            }
            answer.put("rows", rows);
        } catch (Exception broken) {
            answer.put("error", broken.getClass().getSimpleName());
            answer.put("text", String.valueOf(broken.getMessage()));
        }
        return answer;
    }

    /** Segment name to a list of segments, each a map of field number to repetitions, components, subcomponents. */
    private static Map<String, Object> read(List<Segment> row) throws Exception {
        Map<String, Object> found = new TreeMap<>();
        for (Segment segment : row) {
            if (SEGMENTS.contains(segment.getName())) {
                @SuppressWarnings("unchecked")
                List<Object> known = (List<Object>) found.computeIfAbsent(segment.getName(), name -> new ArrayList<>());
                known.add(fields(segment));
            }
        }
        return found;
    }

    private static Map<String, Object> fields(Segment segment) throws Exception {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (int field = 1; field <= segment.numFields(); field++) {
            Type[] repetitions = segment.getField(field);
            List<Object> values = new ArrayList<>();
            for (int repetition = 0; repetition < repetitions.length; repetition++) {
                values.add(components(segment, field, repetition, repetitions[repetition]));
            }
            if (!values.isEmpty()) {
                fields.put(Integer.toString(field), values);
            }
        }
        return fields;
    }

    private static List<Object> components(Segment segment, int field, int repetition, Type type) throws Exception {
        List<Object> components = new ArrayList<>();
        for (int component = 1; component <= Terser.numComponents(type); component++) {
            List<Object> parts = new ArrayList<>();
            for (int part = 1; part <= Terser.numSubComponents(type, component); part++) {
                String value = Terser.get(segment, field, repetition, component, part);
                parts.add(value == null ? "" : value);
            }
            components.add(parts);
        }
        return components;
    }
}
