import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.app.HL7Service;
import ca.uhn.hl7v2.llp.MinLowerLayerProtocol;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.protocol.MetadataKeys;
import ca.uhn.hl7v2.protocol.ReceivingApplication;
import ca.uhn.hl7v2.protocol.ReceivingApplicationException;
import ca.uhn.hl7v2.util.StandardSocketFactory;
import ca.uhn.hl7v2.util.idgenerator.InMemoryIDGenerator;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/**
 * PORT FILE [validating]: HAPI's HL7Service on loopback. Each message is appended to FILE and forced to the disk before
 * its acknowledgement goes out; validating is with the checks of a context of its defaults. Prints {"port":N} when it listens; ends when its standard input does.
 */
public class Service {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        Loopback sockets = new Loopback();
        try (FileChannel file = FileChannel.open(
                        Path.of(args[1]), StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
                DefaultHapiContext context = new DefaultHapiContext(
                        args.length > 2
                                ? ValidationContextFactory.defaultValidation()
                                : ValidationContextFactory.noValidation())) {
            context.getParserConfiguration().setIdGenerator(new InMemoryIDGenerator()); // the default leaves a file behind
            context.setSocketFactory(sockets);
            context.setLowerLayerProtocol(new MinLowerLayerProtocol(true));
            HL7Service service = context.newServer(port, false);
            service.registerApplication("*", "*", new Keeper(file));
            service.startAndWait();
            System.out.println(Json.of(Map.of("port", sockets.listening.getLocalPort())));
            while (System.in.read() >= 0) {
                // until the parent closes its end
            }
            service.stopAndWait();
        }
        System.exit(0);
    }

    /** Appends and forces, then answers AA. Connections have threads of their own and force side by side. */
    private record Keeper(FileChannel file) implements ReceivingApplication<Message> {
        @Override
        public Message processMessage(Message message, Map<String, Object> metadata)
                throws ReceivingApplicationException, HL7Exception {
            String raw = (String) metadata.get(MetadataKeys.IN_RAW_MESSAGE);
            try {
                ByteBuffer bytes = ByteBuffer.wrap((raw + "\n").getBytes(StandardCharsets.UTF_8));
                synchronized (this) {
                    while (bytes.hasRemaining()) {
                        file.write(bytes);
                    }
                }
                file.force(false);
                return message.generateACK();
            } catch (IOException broken) {
                throw new ReceivingApplicationException(broken);
            }
        }

        @Override
        public boolean canProcess(Message message) {
            return true;
        }
    }

    /** HAPI binds every interface; here loopback alone, and port 0 stands for a free one. */
    private static final class Loopback extends StandardSocketFactory {
        private volatile ServerSocket listening;

        @Override
        public ServerSocket createServerSocket() throws IOException {
            listening = new ServerSocket() {
                @Override
                public void bind(SocketAddress asked) throws IOException {
                    int port = ((InetSocketAddress) asked).getPort();
                    super.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1024);
                }
            };
            return listening;
        }

        @Override
        public void configureNewAcceptedSocket(Socket accepted) throws SocketException {
            super.configureNewAcceptedSocket(accepted);
            accepted.setTcpNoDelay(true);
        }
    }
}
