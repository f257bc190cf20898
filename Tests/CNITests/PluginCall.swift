import JSON
import Testing

@testable import CNI

/// One call of a plugin in this process.
struct PluginCall {
  var plugin: any CNIPlugin
  var command = "ADD"
  var id = "dummy"
  var netns = "/no/such/netns"
  var ifname = "eth0"
  var args = ""
  var path = "/no/such/path"
  var host = PluginHost()

  init(_ plugin: any CNIPlugin, path: String = "/no/such/path", host: PluginHost = PluginHost()) {
    self.plugin = plugin
    self.path = path
    self.host = host
  }

  var environment: PluginEnvironment {
    var e: PluginEnvironment = [
      "CNI_COMMAND": command, "CNI_CONTAINERID": id, "CNI_NETNS": netns, "CNI_IFNAME": ifname, "CNI_PATH": path,
    ]
    if !args.isEmpty { e["CNI_ARGS"] = args }
    return e
  }

  func callAsFunction(_ config: String, _ command: String? = nil) -> PluginMain.Outcome {
    var c = self
    if let command { c.command = command }
    return PluginMain.run(c.plugin, environment: c.environment, host: host, stdin: Array(config.utf8))
  }
}

extension PluginMain.Outcome {
  var json: JSONObject { (try? JSONValue(parsing: stdout))?.objectValue ?? JSONObject() }
  var code: Int? { json["code"]?.intValue }
  var message: String? { json["msg"]?.stringValue }
  var details: String? { json["details"]?.stringValue }
  /// The addresses of a result from 0.3.0 on.
  var addresses: [String] {
    (json["ips"]?.arrayValue ?? []).compactMap { $0.objectValue?["address"]?.stringValue }
  }
}

/// A plugin that notes what reaches it and answers as told.
final class SpyPlugin: CNIPlugin {
  static var name: String { "spy" }
  static var about: String { "SPY v1" }
  static var supportedVersions: [String] { CNIVersion.allTexts }
  var calls: [String] = []
  var last: CNIRequest?
  var error: (any Error)?
  var result = CNIResult()

  private func note(_ r: CNIRequest) throws {
    calls.append(r.command.rawValue)
    last = r
    if let error { throw error }
  }
  func add(_ r: CNIRequest) throws -> CNIResult {
    try note(r)
    return result
  }
  func del(_ r: CNIRequest) throws { try note(r) }
  func check(_ r: CNIRequest) throws { try note(r) }
  func status(_ r: CNIRequest) throws { try note(r) }
  func gc(_ r: CNIRequest) throws { try note(r) }
}

/// Plugins with other lists of versions.
struct FuturePlugin: CNIPlugin {
  static let name = "future"
  static let about = "future"
  static let supportedVersions = ["4.3.2"]
  func add(_ r: CNIRequest) throws -> CNIResult { CNIResult() }
  func del(_ r: CNIRequest) throws {}
}

struct OldPlugin: CNIPlugin {
  static let name = "old"
  static let about = ""
  static let supportedVersions = ["0.1.0", "0.2.0", "0.3.0"]
  func add(_ r: CNIRequest) throws -> CNIResult { CNIResult() }
  func del(_ r: CNIRequest) throws {}
}

struct OddPlugin: CNIPlugin {
  static let name = "odd"
  static let about = "odd"
  static let supportedVersions = ["adsfsadf"]
  func add(_ r: CNIRequest) throws -> CNIResult { CNIResult() }
  func del(_ r: CNIRequest) throws {}
}
