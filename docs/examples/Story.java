// An action that waits, over HTTP with Java's own library: java Story.java http://127.0.0.1:8750
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.UUID;
import java.util.regex.Pattern;

public class Story {
    static final String TOKEN = System.getenv("TOKEN"), RUN = UUID.randomUUID().toString(), SUBJECT = "T-java-" + RUN;
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static String api;

    /** Sends a request and gives its answer; anything but 200 throws: then nothing may act. */
    static String ask(String path, String body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(api + path)).header("content-type", "application/cloudevents+json");
        if (TOKEN != null) request.header("authorization", "Bearer " + TOKEN);
        if (body != null) request.POST(HttpRequest.BodyPublishers.ofString(body));
        var answer = CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new IllegalStateException(answer.statusCode() + " " + answer.body());
        return answer.body();
    }

    /** Sends an event and gives its verdict; one that was not accepted throws: a duplicate is no permission either. */
    static String publish(String id, String type, String data) throws Exception {
        var who = TOKEN == null ? "\"actor\":\"user:dana\"," : ""; // with a token the server sets it
        var told = ask("/v1/events", """
            {"specversion":"1.0","id":"%s-%s","source":"/java","type":"pauseledger.%s","subject":"%s",%s
             "data":{"execution":"%s","pause":"%s",%s}}""".formatted(id, RUN, type, SUBJECT, who, RUN, RUN, data));
        System.out.println(member(told, "verdict") + " " + type);
        if (!member(told, "verdict").equals("accepted")) throw new IllegalStateException(told);
        return told;
    }

    static String member(String json, String name) { // a program of yours has a JSON library
        var found = Pattern.compile("\"" + name + "\":\"?([^,\"}]*)").matcher(json);
        if (!found.find()) throw new IllegalStateException("no " + name + " in " + json);
        return found.group(1);
    }

    public static void main(String[] args) throws Exception {
        api = args[0];
        publish("open", "pause.opened", """
            "owner":"user:dana","fresh_for":"PT15M","side_effect":"not_happened","pending_action":
            {"kind":"payment","name":"refund","arguments":{"cents":500,"run":"%s"}}""".formatted(RUN));
        var decision = ask("/v1/work-items/" + SUBJECT + "/pauses/" + RUN + "/decision", null);
        var digest = member(decision, "action_digest");
        var granted = publish("resume", "resume.requested", "\"action_digest\":\"" + digest + "\"");
        var attempt = publish("attempt", "side_effect.attempted", "\"fence\":" + member(granted, "fence"));
        System.out.println("refunded, once"); // here it acts, before the verdict's valid_until
        var entry = member(attempt, "partition") + ":" + member(attempt, "offset");
        publish("observe", "side_effect.observed", "\"status\":\"happened\",\"settles\":\"" + entry + "\"");
        publish("close", "pause.closed", "\"outcome\":\"executed\"");
    }
}
