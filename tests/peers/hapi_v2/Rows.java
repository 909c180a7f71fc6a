import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.model.Group;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.model.Structure;
import ca.uhn.hl7v2.util.Terser;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * The segments of each order, report or patient of a message, by the groups that HAPI put them in: those of the group
 * itself, and those of the groups around it that belong to no other order.
 */
final class Rows {
    private static final Set<String> ORDERS = Set.of("ORC", "OBR");
    private static final Set<String> PATIENTS = Set.of("PID");

    private final Set<String> anchors;
    private final List<List<Segment>> rows = new ArrayList<>();

    private Rows(Set<String> anchors) {
        this.anchors = anchors;
    }

    static List<List<Segment>> of(Message message) throws HL7Exception {
        boolean ofPatients = "ADT".equals(new Terser(message).get("/MSH-9-1"));
        Rows found = new Rows(ofPatients ? PATIENTS : ORDERS);
        found.collect(message, List.of());
        if (ofPatients && found.rows.isEmpty()) {
            List<Segment> whole = new ArrayList<>();
            addAll(whole, message, false);
            found.rows.add(whole);
        }
        return found.rows;
    }

    private void collect(Group group, List<Segment> around) throws HL7Exception {
        if (anchorsDirectly(group)) {
            List<Segment> row = new ArrayList<>(around);
            addAll(row, group, true);
            addByStep(row);
            return;
        }
        List<Segment> wider = new ArrayList<>(around);
        for (String name : group.getNames()) {
            for (Structure child : group.getAll(name)) {
                if (child instanceof Segment segment) {
                    wider.add(segment);
                } else if (!holds((Group) child, anchors)) {
                    addAll(wider, (Group) child, false);
                }
            }
        }
        wider.removeIf(segment -> segment.getName().equals("OBX")); // of the patient, not of the order
        for (String name : group.getNames()) {
            for (Structure child : group.getAll(name)) {
                if (child instanceof Group inner && !isPrior(inner) && holds(inner, anchors)) {
                    collect(inner, wider);
                }
            }
        }
    }

    /** Several IPC in one order are as many procedure steps. */
    private void addByStep(List<Segment> row) {
        List<Segment> steps = row.stream().filter(segment -> segment.getName().equals("IPC")).toList();
        if (steps.size() < 2) {
            rows.add(row);
            return;
        }
        for (Segment step : steps) {
            rows.add(row.stream().filter(segment -> segment == step || !segment.getName().equals("IPC")).toList());
        }
    }

    private boolean anchorsDirectly(Group group) throws HL7Exception {
        for (String name : group.getNames()) {
            for (Structure child : group.getAll(name)) {
                if (child instanceof Segment segment && anchors.contains(segment.getName()) && !segment.isEmpty()) {
                    return true;
                }
            }
        }
        return false;
    }

    private static void addAll(List<Segment> row, Group group, boolean withoutPrior) throws HL7Exception {
        for (String name : group.getNames()) {
            for (Structure child : group.getAll(name)) {
                if (child instanceof Segment segment) {
                    row.add(segment);
                } else if (!withoutPrior || !isPrior((Group) child)) {
                    addAll(row, (Group) child, withoutPrior);
                }
            }
        }
    }

    /** A group of earlier results, as PRIOR_RESULT of OMG_O19: what it holds is no part of the order. */
    private static boolean isPrior(Group group) {
        return group.getName().contains("PRIOR");
    }

    private static boolean holds(Group group, Set<String> names) throws HL7Exception {
        for (String name : group.getNames()) {
            for (Structure child : group.getAll(name)) {
                boolean here = child instanceof Segment segment
                        ? names.contains(segment.getName()) && !segment.isEmpty()
                        : !isPrior((Group) child) && holds((Group) child, names);
                if (here) {
                    return true;
                }
            }
        }
        return false;
    }
}
