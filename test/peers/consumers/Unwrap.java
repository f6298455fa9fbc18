import io.apicurio.registry.utils.converter.AvroConverter;
import io.debezium.transforms.ExtractNewRecordState;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;

/** Debezium's unwrap transform on records as a sink of Kafka Connect would get them: of a file, "topic valueHex" a line. */
public class Unwrap {
  public static void main(String[] args) throws Exception {
    AvroConverter<?> converter = new AvroConverter<>();
    converter.configure(
        Map.of(
            "apicurio.registry.url", args[0],
            "apicurio.registry.as-confluent", "true",
            "apicurio.registry.headers.enabled", "false",
            "apicurio.registry.use-id", "contentId"),
        false);
    JsonConverter json = new JsonConverter();
    json.configure(Map.of("schemas.enable", "false", "decimal.format", "NUMERIC"), false);
    ExtractNewRecordState<SinkRecord> unwrap = new ExtractNewRecordState<>();
    unwrap.configure(
        Map.of("delete.tombstone.handling.mode", "rewrite", "add.fields", "op,source.txId"));
    for (String line : Files.readAllLines(Path.of(args[1]))) {
      String[] words = line.split(" ", 2);
      byte[] bytes = words.length < 2 ? null : HexFormat.of().parseHex(words[1]);
      SchemaAndValue value = converter.toConnectData(words[0], bytes);
      Schema schema = value == null ? null : value.schema();
      Object data = value == null ? null : value.value();
      SinkRecord record = new SinkRecord(words[0], 0, null, null, schema, data, 0);
      SinkRecord unwrapped = unwrap.apply(record);
      if (unwrapped == null) System.out.println("dropped");
      else {
        byte[] text = json.fromConnectData(words[0], unwrapped.valueSchema(), unwrapped.value());
        System.out.println(new String(text, StandardCharsets.UTF_8));
      }
    }
    System.exit(0);
  }
}
