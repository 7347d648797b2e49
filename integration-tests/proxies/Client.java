import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Sends a request with a body of SIZE bytes TIMES times with java.net.http, and counts the answers.
 *
 * <pre>java Client.java URL METHOD SIZE TIMES [--chunked] [--http2] [--ca FILE] [--header 'NAME: VALUE']...
 *                  [--expect 'STATUS CODE'] [--then URL] [--then-header 'NAME: VALUE']...</pre>
 *
 * With --http2 the client uses its default version: over TLS it offers h2, without TLS it asks for an upgrade.
 * --then names a small POST that follows each request on the same client. Its answer must be 2xx. Prints
 * {"client", "tries", "right", "seen": {"STATUS CODE" or error: count}, "then_right", "then"}.
 */
public final class Client {
    private static final Pattern CODE = Pattern.compile("\"code\"\\s*:\\s*\"([^\"]*)\"");

    private final List<String> positional = new ArrayList<>();
    private final List<String> headers = new ArrayList<>();
    private final List<String> thenHeaders = new ArrayList<>();
    private boolean chunked;
    private boolean http2;
    private String ca;
    private String expect;
    private String then;

    public static void main(String[] args) throws Exception {
        new Client(args).run();
    }

    private Client(String[] args) {
        for (int at = 0; at < args.length; at++) {
            switch (args[at]) {
                case "--chunked" -> chunked = true;
                case "--http2" -> http2 = true;
                case "--ca" -> ca = args[++at];
                case "--header" -> headers.add(args[++at]);
                case "--expect" -> expect = args[++at];
                case "--then" -> then = args[++at];
                case "--then-header" -> thenHeaders.add(args[++at]);
                default -> positional.add(args[at]);
            }
        }
    }

    private void run() throws Exception {
        long size = Long.parseLong(positional.get(2));
        int times = Integer.parseInt(positional.get(3));
        HttpClient.Builder builder = HttpClient.newBuilder()
                .version(http2 ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1);
        if (ca != null) builder.sslContext(trusting(Path.of(ca)));
        HttpClient client = builder.build();
        Map<String, Integer> seen = new TreeMap<>();
        Map<String, Integer> after = new TreeMap<>();
        int right = 0;
        int thenRight = 0;
        for (int turn = 0; turn < times; turn++) {
            BodyPublisher stream = BodyPublishers.ofInputStream(() -> new Sevens(size));
            BodyPublisher body = chunked ? stream : BodyPublishers.fromPublisher(stream, size);
            String what = seen(client, request(positional.get(0), positional.get(1), headers, body), true);
            seen.merge(what, 1, Integer::sum);
            if (what.equals(expect)) right++;
            if (then == null) continue;
            what = seen(client, request(then, "POST", thenHeaders, BodyPublishers.ofString("hello")), false);
            after.merge(what, 1, Integer::sum);
            if (what.matches("2\\d\\d")) thenRight++;
        }
        System.out.printf("{\"client\":\"java%s\",\"tries\":%d,\"right\":%d,\"seen\":%s,\"then_right\":%d,\"then\":%s}%n",
                http2 ? "-http2" : "", times, right, json(seen), thenRight, json(after));
        System.exit(0);
    }

    private static HttpRequest request(String url, String method, List<String> headers, BodyPublisher body) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).method(method, body)
                .timeout(Duration.ofSeconds(90));
        for (String header : headers) {
            int colon = header.indexOf(':');
            request.header(header.substring(0, colon), header.substring(colon + 1).trim());
        }
        return request.build();
    }

    private static String seen(HttpClient client, HttpRequest request, boolean withCode) throws InterruptedException {
        try {
            HttpResponse<String> answer = client.send(request, BodyHandlers.ofString());
            if (!withCode) return String.valueOf(answer.statusCode());
            Matcher code = CODE.matcher(answer.body());
            return answer.statusCode() + " " + (code.find() ? code.group(1) : "(no problem document)");
        } catch (IOException error) {
            return String.valueOf(error.getMessage());
        }
    }

    private static String json(Map<String, Integer> counts) {
        return counts.entrySet().stream()
                .map(entry -> '"' + entry.getKey().replaceAll("[\"\\\\\\p{Cntrl}]", " ") + "\":" + entry.getValue())
                .collect(Collectors.joining(",", "{", "}"));
    }

    private static SSLContext trusting(Path certificate) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(Files.readAllBytes(certificate))));
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    /** A stream of bytes with the value 7. */
    private static final class Sevens extends InputStream {
        private long left;

        Sevens(long size) {
            left = size;
        }

        @Override
        public int read() {
            return left-- > 0 ? 7 : -1;
        }

        @Override
        public int read(byte[] to, int from, int most) {
            if (left <= 0) return -1;
            int length = (int) Math.min(left, most);
            left -= length;
            return length;
        }
    }
}
