// Publishes one event in structured mode. Needs kafka-clients on the class path:
//   java -cp 'libs/*' Publish.java 127.0.0.1:9092 pauses T-7 '{"specversion":"1.0", ..., "subject":"T-7", ...}'
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Publish {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", args[0],
            "acks", "all",                          // recorded means acknowledged by all in-sync replicas
            "enable.idempotence", "true",
            "delivery.timeout.ms", Integer.MAX_VALUE); // never give up by itself: a resend must keep its id
        var event = new ProducerRecord<String, String>(args[1], args[2], args[3]); // the key is the subject
        event.headers().add("content-type", "application/cloudevents+json".getBytes(StandardCharsets.UTF_8));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            var place = producer.send(event).get();
            System.out.println(place.partition() + ":" + place.offset());
        }
    }
}
