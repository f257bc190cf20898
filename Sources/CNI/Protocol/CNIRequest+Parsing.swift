import JSON
import Syscalls

/// What the front end makes of a call.
public enum CNICall {
  /// No command: the text for standard error; success.
  case about(String)
  /// VERSION: the text for standard output.
  case version(String)
  /// A call for the plugin.
  case request(CNIRequest)
  /// A command that is no command. It is found out last, as in the reference library.
  case unknown(String)
}

extension CNIRequest {
  /// The common front end of every plugin: the same checks in the same order with the same texts as the reference
  /// library (contract cni §A1).
  /// - Parameters:
  ///   - about: printed when there is no command; empty makes that an error.
  ///   - supported: the versions the plugin accepts.
  ///   - stdin: reads the configuration; not called for VERSION.
  public static func parse(
    environment: PluginEnvironment, about: String, supported: [String], host: PluginHost,
    stdin: () throws -> [UInt8]
  ) throws(CNIError) -> CNICall {
    let text = environment["CNI_COMMAND"]
    if text.isEmpty, !about.isEmpty {
      return .about("\(about)\nCNI protocol versions supported: \(supported.joined(separator: ", "))\n")
    }
    let values = try variables(environment, command: text)
    if text == "VERSION" { return .version(versionDocument(supported)) }
    let bytes: [UInt8]
    do {
      bytes = try stdin()
    } catch {
      throw CNIError(.ioFailure, "error reading from stdin: \(error)")
    }
    let (config, name) = try configuration(bytes)
    guard let command = Command(rawValue: text) else { return .unknown(text) }
    let version = try negotiate(config, command: command, supported: supported)
    return .request(
      CNIRequest(
        command: command, containerID: values.containerID, netns: values.netns, ifname: values.ifname,
        args: environment["CNI_ARGS"], path: values.path.split(separator: ":").map(String.init),
        environment: environment, stdin: bytes, config: config, name: name, version: version, host: host))
  }

  private struct Variables {
    var containerID = ""
    var netns = ""
    var ifname = ""
    var path = ""
  }

  /// Reads and checks the variables in the order of the contract's table.
  private static func variables(
    _ environment: PluginEnvironment, command: String
  ) throws(CNIError) -> Variables {
    let container = ["ADD", "CHECK", "DEL"].contains(command)
    var missing: [String] = command.isEmpty ? ["CNI_COMMAND"] : []
    var out = Variables()
    out.containerID = environment["CNI_CONTAINERID"]
    out.netns = environment["CNI_NETNS"]
    out.ifname = environment["CNI_IFNAME"]
    out.path = environment["CNI_PATH"]
    if container {
      if out.containerID.isEmpty { missing.append("CNI_CONTAINERID") } else { try checkContainerID(out.containerID) }
      if out.netns.isEmpty, command != "DEL" { missing.append("CNI_NETNS") }
      if out.ifname.isEmpty { missing.append("CNI_IFNAME") } else { try checkInterfaceName(out.ifname) }
    }
    if out.path.isEmpty, container || command == "GC" || command == "STATUS" { missing.append("CNI_PATH") }
    guard missing.isEmpty else {
      throw .environment("required env variables [\(missing.joined(separator: ","))] missing")
    }
    return out
  }

  /// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`
  static func isIdentifier(_ text: String) -> Bool {
    guard let first = text.utf8.first, isAlphanumeric(first) else { return false }
    return text.utf8.allSatisfy {
      isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
    }
  }

  private static func isAlphanumeric(_ c: UInt8) -> Bool {
    (0x30...0x39).contains(c) || (0x41...0x5a).contains(c) || (0x61...0x7a).contains(c)
  }

  static func checkContainerID(_ id: String) throws(CNIError) {
    guard isIdentifier(id) else { throw .environment("invalid characters in containerID", details: id) }
  }

  static func checkInterfaceName(_ name: String) throws(CNIError) {
    guard name.utf8.count <= 15 else {
      throw .environment(
        "interface name is too long", details: "interface name should be less than 16 characters")
    }
    guard name != ".", name != ".." else { throw .environment("interface name is . or ..") }
    let refused = name.unicodeScalars.contains { $0 == "/" || $0 == ":" || $0.properties.isWhitespace }
    guard !refused else {
      throw .environment("interface name contains / or : or whitespace characters")
    }
  }

  /// Decodes the configuration and checks the network's name.
  static func configuration(_ bytes: [UInt8]) throws(CNIError) -> (JSONObject, String) {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: bytes)
    } catch {
      throw .decoding("error unmarshall network config: \(error)")
    }
    guard let config = json.objectValue ?? (json.isNull ? JSONObject() : nil) else {
      throw .decoding("error unmarshall network config: it is no JSON object but \(json.kindWithArticle)")
    }
    return (config, try networkName(config))
  }

  static func networkName(_ config: JSONObject) throws(CNIError) -> String {
    let name: String
    do {
      name = try config.string("name") ?? ""
    } catch {
      throw .decoding("error unmarshall network config: \(error.message)")
    }
    guard !name.isEmpty else { throw .configuration("missing network name") }
    guard isIdentifier(name) else {
      throw .configuration("invalid characters found in network name", details: name)
    }
    return name
  }

  /// The version gates (contract cni §A1 step 5).
  static func negotiate(
    _ config: JSONObject, command: Command, supported: [String]
  ) throws(CNIError) -> CNIVersion {
    var text: String
    do {
      text = try config.string("cniVersion") ?? ""
    } catch {
      throw .decoding("decoding version from network config: \(error.message)")
    }
    if text.isEmpty { text = "0.1.0" }
    if let since = command.since {
      let own = try CNIVersion(parsing: text)
      guard own >= since else {
        throw CNIError(.incompatibleVersion, "config version does not allow \(command.rawValue)")
      }
      var known = false
      for s in supported where !known { known = try CNIVersion(parsing: s) >= own }
      guard known else { throw CNIError(.incompatibleVersion, "plugin version does not allow \(command.rawValue)") }
    }
    guard supported.contains(text) else {
      let list = supported.map { quoted($0) }.joined(separator: " ")
      throw CNIError(
        .incompatibleVersion, "incompatible CNI versions",
        details: "config is \(quoted(text)), plugin supports [\(list)]")
    }
    return try CNIVersion(parsing: text)
  }

  /// The answer to VERSION, one line.
  private static func versionDocument(_ supported: [String]) -> String {
    let o = JSONObject([
      ("cniVersion", .string(CNIVersion.newest.description)),
      ("supportedVersions", .array(supported.map { .string($0) })),
    ])
    return JSONValue.object(o).text() + "\n"
  }
}
