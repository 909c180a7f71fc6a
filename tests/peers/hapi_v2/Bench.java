import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.parser.PipeParser;
import ca.uhn.hl7v2.util.Terser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * FILE SECONDS [PLACE ...]: parses the message and reads the places by Terser, over and over, for SECONDS after a
 * warm-up of as long; prints one JSON line.
 */
public class Bench {
    /** The 20 fields of an order, at the places of IHE scheduled workflow. */
    private static final List<String> PLACES = List.of(
            "/.PID-3-1", "/.PID-3-4-1", "/.PID-5-1-1", "/.PID-5-2", "/.PID-7", "/.PID-8", "/.PV1-2", "/.PV1-19-1",
            "/.ORC-1", "/.ORC-2-1", "/.ORC-3-1", "/.OBR-4-1", "/.OBR-4-2", "/.OBR-18-1", "/.OBR-19-1", "/.OBR-20-1",
            "/.OBR-24", "/.OBR-27-6", "/.OBR-31-1", "/.ZDS-1-1");
    private static final int BATCH = 50;

    /** A place split beforehand, so that each segment is looked for once a message: the quicker use of Terser. */
    private record Place(String segment, int[] indices) {
        static Place of(String written) throws HL7Exception {
            int dash = written.indexOf('-');
            return new Place(written.substring(0, dash), Terser.getIndices(written));
        }
    }

    public static void main(String[] args) throws Exception {
        String text = Wire.received(Path.of(args[0]));
        double seconds = Double.parseDouble(args[1]);
        try (HapiContext context = new DefaultHapiContext(ValidationContextFactory.noValidation())) {
            PipeParser parser = context.getPipeParser();
            List<String> asked = args.length > 2 ? Arrays.asList(args).subList(2, args.length) : PLACES;
            List<String> absent = new ArrayList<>();
            List<Place> places = new ArrayList<>();
            Terser first = new Terser(parser.parse(text));
            for (String place : asked) {
                try {
                    first.get(place);
                    places.add(Place.of(place));
                } catch (HL7Exception noSuchSegment) {
                    absent.add(place);
                }
            }
            run(parser, text, places, seconds);
            long began = System.nanoTime();
            long cpuBegan = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
            long[] done = run(parser, text, places, seconds);
            double took = (System.nanoTime() - began) / 1e9;
            double cpu = (ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - cpuBegan) / 1e9;
            Map<String, Object> figures = new LinkedHashMap<>();
            figures.put("messages", done[0]);
            figures.put("seconds", took);
            figures.put("per_second", done[0] / took);
            figures.put("per_cpu_second", done[0] / cpu);
            figures.put("places", places.size());
            figures.put("valued", done[1] / done[0]);
            figures.put("absent", absent);
            System.out.println(Json.of(figures));
        }
    }

    /** How many messages were read, and how many values they gave. */
    private static long[] run(PipeParser parser, String text, List<Place> places, double seconds) throws HL7Exception {
        long until = System.nanoTime() + (long) (seconds * 1e9);
        long messages = 0;
        long values = 0;
        while (messages == 0 || System.nanoTime() < until) {
            for (int repeat = 0; repeat < BATCH; repeat++) {
                Terser terser = new Terser(parser.parse(text));
                Map<String, Segment> found = new HashMap<>();
                for (Place place : places) {
                    Segment segment = found.get(place.segment);
                    if (segment == null) {
                        segment = terser.getSegment(place.segment);
                        found.put(place.segment, segment);
                    }
                    int[] at = place.indices;
                    String value = Terser.get(segment, at[0], at[1], at[2], at[3]);
                    values += value == null || value.isEmpty() ? 0 : 1;
                }
                messages++;
            }
        }
        return new long[] {messages, values};
    }
}
