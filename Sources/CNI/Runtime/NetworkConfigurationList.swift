import JSON
import Syscalls

/// A network as the administrator writes it: a `.conflist`, or a `.conf` with one plugin (contract cni §A3).
public struct NetworkConfigurationList: Hashable, Sendable {
  /// Name of the network, part of file names: letters, digits, `_`, `.` and `-`.
  public var name: String
  /// The version that is spoken with the plugins: the highest of `cniVersions` known here, else `cniVersion` as it is.
  public var version: CNIVersion
  /// CHECK is not called.
  public var disableCheck: Bool
  /// GC is not called.
  public var disableGC: Bool
  /// The plugins' configurations in order; each has a `type`.
  public var plugins: [JSONObject]
  /// The text it was read from, for the cache.
  public var bytes: [UInt8]

  /// Reads a list or a single configuration.
  public init(parsing bytes: [UInt8]) throws(CNIError) {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: bytes)
    } catch {
      throw .decoding("error parsing configuration list: \(error)")
    }
    guard let o = json.objectValue else { throw .decoding("error parsing configuration list: no JSON object") }
    self.bytes = bytes
    name = try o.string("name") ?? ""
    guard !name.isEmpty else { throw .configuration("error parsing configuration list: no name") }
    guard CNIRequest.isIdentifier(name) else {
      throw .configuration("invalid characters found in network name", details: name)
    }
    version = try Self.negotiate(o)
    disableCheck = try Self.flag(o, "disableCheck")
    disableGC = try Self.flag(o, "disableGC")
    if o.field("plugins") == nil, o.field("type") != nil {
      plugins = [o]
    } else {
      guard let list = try o.array("plugins") else {
        throw .configuration("error parsing configuration list: no 'plugins' key")
      }
      guard !list.isEmpty else { throw .configuration("error parsing configuration list: no plugins in list") }
      plugins = []
      for (i, v) in list.enumerated() {
        guard let p = v.objectValue else { throw .decoding("failed to parse plugin config \(i): no JSON object") }
        plugins.append(p)
      }
    }
    for (i, p) in plugins.enumerated() {
      guard try p.string("type")?.isEmpty == false else {
        throw .configuration("failed to parse plugin config \(i): missing 'type'")
      }
    }
  }

  /// Reads a file.
  public init(file: String) throws(CNIError) {
    let bytes: [UInt8]
    do throws(SystemError) {
      bytes = try Files.read(file, limit: PluginMain.inputLimit)
    } catch {
      throw CNIError(error)
    }
    try self.init(parsing: bytes)
  }

  private static func negotiate(_ o: JSONObject) throws(CNIError) -> CNIVersion {
    let text = try o.string("cniVersion")
    let offered = try o.strings("cniVersions")
    guard !offered.isEmpty else { return try CNIVersion(parsing: text ?? "") }
    var known: [CNIVersion] = []
    for t in offered + (text.map { [$0] } ?? []) {
      let v = try CNIVersion(parsing: t)
      if CNIVersion.all.contains(v) { known.append(v) }
    }
    guard let highest = known.max() else {
      throw CNIError(
        .incompatibleVersion, "no supported version in cniVersions",
        details: "config offers \(offered.joined(separator: ", ")), supported are "
          + CNIVersion.allTexts.joined(separator: ", "))
    }
    return highest
  }

  /// A flag, which may be written as text.
  private static func flag(_ o: JSONObject, _ name: String) throws(CNIError) -> Bool {
    switch o.field(name) {
    case nil: return false
    case .bool(let b): return b
    case .string(let s) where s.lowercased() == "true": return true
    case .string(let s) where s.lowercased() == "false": return false
    case .some(let v):
      throw .decoding("error parsing configuration list: invalid \(name) value \(v.text()): expected true or false")
    }
  }
}
