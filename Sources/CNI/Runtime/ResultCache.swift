import JSON
import Syscalls

/// Results of ADD on disk in the format of the reference library, so that a runtime that uses it finds them:
/// `<directory>/results/<network>-<container id>-<ifname>`, kind `cniCacheV1`.
public struct ResultCache: Hashable, Sendable {
  /// The directory above `results`; the runtimes' own is `/var/lib/cni`.
  public var directory: String

  /// Nothing is made or read yet: `results` appears with the first result.
  public init(directory: String) { self.directory = directory }

  private var results: String { "\(directory)/results" }
  private func file(_ network: String, _ a: CNIRequest.Attachment) -> String {
    "\(results)/\(network)-\(a.containerID)-\(a.ifname)"
  }

  /// Writes the result of an ADD.
  func store(
    _ result: CNIResult, _ list: NetworkConfigurationList, _ a: Runtime.Attachment
  ) throws(CNIError) {
    var o = JSONObject([
      ("kind", "cniCacheV1"), ("containerId", .string(a.containerID)),
      ("config", .string(Base64.encode(list.bytes))), ("ifName", .string(a.ifname)),
      ("networkName", .string(list.name)),
    ])
    if !a.netns.isEmpty { o["netns"] = .string(a.netns) }
    if !a.args.isEmpty { o["cniArgs"] = .array(a.args.map { [.string($0.name), .string($0.value)] }) }
    if !a.capabilityArgs.isEmpty { o["capabilityArgs"] = JSONValue.object(a.capabilityArgs).sortedByName }
    o["result"] = try result.json(as: list.version).sortedByName
    do throws(SystemError) {
      try Files.makeDirectory(results, mode: 0o700)
      try Files.writeAtomically(
        JSONValue.object(o).bytes(), to: file(list.name, a.id), mode: 0o600, durable: false)
    } catch {
      throw CNIError(error)
    }
  }

  /// The result of the last ADD; nil when there is none that can be read.
  public func result(_ list: NetworkConfigurationList, _ a: CNIRequest.Attachment) -> CNIResult? {
    read(file(list.name, a))?.field("result").flatMap { try? CNIResult(parsing: $0, version: list.version) }
  }

  /// Forgets a result.
  func remove(_ network: String, _ a: CNIRequest.Attachment) throws(CNIError) {
    do throws(SystemError) {
      try Files.remove(file(network, a))
    } catch {
      throw CNIError(error)
    }
  }

  /// The attachments of a network that have a result.
  func attachments(_ network: String) -> [Runtime.Attachment] {
    var out: [Runtime.Attachment] = []
    for name in ((try? Files.list(results)) ?? []).sorted() where name.hasPrefix(network + "-") {
      guard let o = read("\(results)/\(name)"), o.field("networkName")?.stringValue == network,
        let id = o.field("containerId")?.stringValue, let ifname = o.field("ifName")?.stringValue
      else { continue }
      var a = Runtime.Attachment(containerID: id, netns: o.field("netns")?.stringValue ?? "", ifname: ifname)
      a.capabilityArgs = o.field("capabilityArgs")?.objectValue ?? JSONObject()
      for pair in o.field("cniArgs")?.arrayValue ?? [] {
        let words = pair.arrayValue ?? []
        guard words.count == 2, let n = words[0].stringValue, let v = words[1].stringValue else { continue }
        a.args.append((n, v))
      }
      out.append(a)
    }
    return out
  }

  private func read(_ path: String) -> JSONObject? {
    guard let bytes = try? Files.read(path) else { return nil }
    return (try? JSONValue(parsing: bytes))?.objectValue
  }
}

extension JSONValue {
  /// The value with all members in byte order of their names, as a Go map is written.
  var sortedByName: JSONValue {
    switch self {
    case .object(let o):
      .object(
        JSONObject(
          o.members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            .map { ($0.name, $0.value.sortedByName) }))
    case .array(let a): .array(a.map(\.sortedByName))
    default: self
    }
  }
}

/// RFC 4648 §4.
enum Base64 {
  static func encode(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var out: [UInt8] = []
    out.reserveCapacity((bytes.count + 2) / 3 * 4)
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      var n: UInt32 = 0
      for i in 0..<3 { n = n << 8 | (i < group.count ? UInt32(group[start + i]) : 0) }
      for i in 0..<4 {
        let digit = Int(n >> UInt32(18 - 6 * i) & 63)
        out.append(i <= group.count ? alphabet[digit] : UInt8(ascii: "="))
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
