import ca.uhn.hl7v2.llp.CharSetUtil;
import ca.uhn.hl7v2.llp.MinLowerLayerProtocol;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** A file as HAPI would receive it over MLLP, decoded by HAPI itself as MSH-18 says, ASCII where it says nothing. */
final class Wire {
    private Wire() {}

    static String received(Path file) throws Exception {
        byte[] bytes = Files.readAllBytes(file);
        byte[] unsigned = CharSetUtil.withoutBOM(bytes);
        MinLowerLayerProtocol protocol = new MinLowerLayerProtocol(unsigned.length == bytes.length);
        protocol.setCharset(unsigned.length == bytes.length ? StandardCharsets.US_ASCII : StandardCharsets.UTF_8);
        ByteArrayOutputStream framed = new ByteArrayOutputStream();
        framed.write(0x0b);
        framed.write(unsigned);
        framed.write(new byte[] {0x1c, 0x0d});
        String text = protocol.getReader(new ByteArrayInputStream(framed.toByteArray())).getMessage();
        // HAPI's parser knows segments that end in CR only; its own file reader does the same to files.
        return text == null ? "" : text.replace("\r\n", "\r").replace('\n', '\r');
    }
}
