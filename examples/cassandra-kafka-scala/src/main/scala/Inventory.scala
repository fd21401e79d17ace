import java.io.File
import scala.io.Source

/** Says what the other stages have brought into the image. */
object Inventory extends App {
  def setting(file: String, key: String): String =
    Source.fromFile(file).getLines.map(_.split("[:=]", 2)).collectFirst {
      case Array(k, v) if k.trim == key => v.trim
    }.getOrElse("?")

  println("Cassandra keeps " + new File("cassandra-data").list.sorted.mkString(", ") +
    ", clients ask port " + setting("cassandra.yaml", "native_transport_port"))
  println("Kafka listens on port " + setting("kafka/config/server.properties", "port") +
    ", Zookeeper on " + setting("kafka/config/zookeeper.properties", "clientPort"))
}
