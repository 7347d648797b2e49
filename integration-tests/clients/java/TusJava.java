// Uploads with tus-java-client: java -cp … TusJava SCENARIO SETTINGS, see README.md.

import io.tus.java.client.ProtocolException;
import io.tus.java.client.TusClient;
import io.tus.java.client.TusURLMemoryStore;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Scenarios in which apps use tus-java-client. */
public final class TusJava {
    private static final int PATIENCE_MS = 60_000;

    private final String settings;
    private final File file;
    private final TusClient client = new TusClient();

    private TusJava(String settings) throws IOException {
        this.settings = settings;
        file = new File(text("file"));
        client.setUploadCreationURL(endpoint().toURL());
        client.setHeaders(Map.of("Authorization", "Bearer " + text("token")));
    }

    public static void main(String[] arguments) {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            TusJava job = new TusJava(arguments[1]);
            answer.put("ok", true);
            answer.putAll(job.run(arguments[0]));
            answer.put("bytes", job.file.length());
        } catch (Exception error) {
            answer.put("ok", false);
            answer.put("error", error.toString());
        }
        System.out.println(json(answer));
        // An open connection would keep the process running.
        System.exit(answer.get("ok").equals(true) ? 0 : 1);
    }

    private Map<String, Object> run(String scenario) throws Exception {
        switch (scenario) {
            case "plain":
                return plain();
            case "resume":
                return resume();
            case "deleted_then_again":
                return deletedThenAgain();
            default:
                throw new IllegalArgumentException("unknown scenario " + scenario + "; known are plain, resume, deleted_then_again");
        }
    }

    private Map<String, Object> plain() throws IOException, ProtocolException {
        return Map.of("url", uploadAll(client.createUpload(upload())).toString());
    }

    /** The app can no longer read its file in the middle, and the request stays open. Another TusUpload resumes. */
    private Map<String, Object> resume() throws Exception {
        client.enableResuming(new TusURLMemoryStore());
        TusUpload first = upload();
        first.setInputStream(new Breaking(first.getInputStream(), file.length() / 2));
        TusUploader uploader = client.resumeOrCreateUpload(first);
        try {
            uploadAll(uploader);
            throw new IllegalStateException("the upload ended before it could be interrupted");
        } catch (Broken expected) {
            // No finish() and no closed connection, so the server cannot know that no more bytes follow.
        }
        TusUploader second = client.resumeUpload(upload());
        long resumedAt = second.getOffset();
        URL url = uploadAll(second);
        return Map.of("first_url", uploader.getUploadURL().toString(), "url", url.toString(), "resumed_at", resumedAt);
    }

    /** Uploads a file, deletes it, and uploads it again while the URL store still has the first upload. */
    private Map<String, Object> deletedThenAgain() throws Exception {
        client.enableResuming(new TusURLMemoryStore());
        URL first = uploadAll(client.resumeOrCreateUpload(upload()));
        int deleted = delete(first);
        int head = request("HEAD", first);
        URL url = uploadAll(client.resumeOrCreateUpload(upload()));
        return Map.of(
            "first_url", first.toString(), "delete_status", deleted, "head_status", head, "url", url.toString());
    }

    /** Deletes the upload with tus, or the file with the HTTP API as soon as it is verified. */
    private int delete(URL upload) throws Exception {
        String id = upload.getPath().substring(upload.getPath().lastIndexOf('/') + 1);
        boolean isByTus = !"file".equals(text("delete"));
        URL url = isByTus ? upload : endpoint().resolve("/v1/files/" + id).toURL();
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (true) {
            int status = request("DELETE", url);
            if (status / 100 == 2) {
                return status;
            }
            if ((status != 404 && status != 409) || System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("DELETE " + url + " answers " + status);
            }
            Thread.sleep(100);
        }
    }

    private int request(String method, URL url) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setRequestMethod(method);
        client.prepareConnection(connection);
        try {
            return connection.getResponseCode();
        } finally {
            connection.disconnect();
        }
    }

    private TusUpload upload() throws IOException {
        TusUpload upload = new TusUpload(file);
        Map<String, String> metadata = new LinkedHashMap<>();
        for (String name : new String[] {"filename", "filetype"}) {
            if (text(name) != null) {
                metadata.put(name, text(name));
            }
        }
        upload.setMetadata(metadata);
        return upload;
    }

    private static URL uploadAll(TusUploader uploader) throws IOException, ProtocolException {
        while (uploader.uploadChunk() > -1) {
            // Continue with the next chunk.
        }
        uploader.finish();
        return uploader.getUploadURL();
    }

    private URI endpoint() {
        return URI.create(text("endpoint"));
    }

    /** Returns a string of the settings, at any depth. Strings must not have escaped characters. */
    private String text(String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"\\\\]*)\"").matcher(settings);
        return found.find() ? found.group(1) : null;
    }

    private static String json(Map<String, Object> members) {
        StringBuilder text = new StringBuilder("{");
        members.forEach((name, value) -> {
            text.append(text.length() > 1 ? ", " : "").append(quoted(name)).append(": ");
            text.append(value instanceof String ? quoted((String) value) : value.toString());
        });
        return text.append("}").toString();
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\r", "\\r") + '"';
    }

    /** The error of a phone whose memory card was removed. */
    private static final class Broken extends IOException {
        private static final long serialVersionUID = 1;

        Broken() {
            super("the file can no longer be read");
        }
    }

    private static final class Breaking extends FilterInputStream {
        private long left;

        Breaking(InputStream inner, long length) {
            super(inner);
            left = length;
        }

        @Override
        public int read() throws IOException {
            if (left-- <= 0) {
                throw new Broken();
            }
            return super.read();
        }

        @Override
        public int read(byte[] into, int offset, int length) throws IOException {
            if (left <= 0) {
                throw new Broken();
            }
            int read = super.read(into, offset, (int) Math.min(length, left));
            left -= Math.max(read, 0);
            return read;
        }
    }
}
