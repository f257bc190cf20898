import JSON
import Syscalls

/// One validated call of a plugin.
public struct CNIRequest {
  /// The commands that reach a plugin; VERSION is answered by the front end.
  public enum Command: String, Hashable, Sendable {
    case add = "ADD"
    case del = "DEL"
    case check = "CHECK"
    case gc = "GC"
    case status = "STATUS"

    /// The lowest version of the configuration that knows the command, if not every one does.
    var since: CNIVersion? {
      switch self {
      case .add, .del: nil
      case .check: .v0_4_0
      case .gc, .status: .v1_1_0
      }
    }
  }

  /// A container's interface in a network, as the runtime names it.
  public struct Attachment: Hashable, Sendable {
    /// `CNI_CONTAINERID`: chosen by the runtime, unique among its containers.
    public var containerID: String
    /// `CNI_IFNAME`: the name inside the container.
    public var ifname: String

    /// Takes the names as they are; nothing is checked.
    public init(containerID: String, ifname: String) {
      self.containerID = containerID
      self.ifname = ifname
    }
  }

  /// `CNI_COMMAND`.
  public var command: Command
  /// `CNI_CONTAINERID`; may be empty for GC and STATUS, which concern no container.
  public var containerID: String
  /// Path of the container's network namespace; may be empty on DEL.
  public var netns: String
  /// `CNI_IFNAME`, the name inside the container; may be empty for GC and STATUS.
  public var ifname: String
  /// `CNI_ARGS` as given: `K=V;K=V`.
  public var args: String
  /// Directories of `CNI_PATH`.
  public var path: [String]
  /// The whole environment, for delegates.
  public var environment: PluginEnvironment
  /// The configuration as read from standard input.
  public var stdin: [UInt8]
  /// The configuration, parsed.
  public var config: JSONObject
  /// Name of the network.
  public var name: String
  /// `cniVersion` of the configuration; 0.1.0 when it has none.
  public var version: CNIVersion
  /// The process around the plugin: delegates, messages.
  public var host: PluginHost

  /// The same request with another command.
  func with(_ command: Command) -> CNIRequest {
    var r = self
    r.command = command
    r.environment["CNI_COMMAND"] = command.rawValue
    return r
  }

  /// The result of the plugin before this one in the list; nil when there is none.
  public func previousResult() throws(CNIError) -> CNIResult? {
    guard let v = config.field("prevResult") else { return nil }
    return try CNIResult(previous: v, version: version)
  }

  /// The values of `CNI_ARGS` in order. An entry without `=` is code 4.
  public func arguments() throws(CNIError) -> [(name: String, value: String)] {
    var out: [(name: String, value: String)] = []
    for entry in args.split(separator: ";", omittingEmptySubsequences: false) where !args.isEmpty {
      guard let equals = entry.utf8.firstIndex(of: UInt8(ascii: "=")) else {
        throw .environment("ARGS: invalid pair \(quoted(entry))")
      }
      out.append((String(entry[..<equals]), String(entry[entry.utf8.index(after: equals)...])))
    }
    return out
  }

  /// The attachments that GC must keep: `cni.dev/valid-attachments`, or its older name. A runtime writes `null` for an
  /// empty list; a configuration without the list is refused, since it would free everything.
  public func validAttachments() throws(CNIError) -> Set<Attachment> {
    guard let v = config["cni.dev/valid-attachments"] ?? config["cni.dev/attachments"] else {
      throw .configuration("the configuration of GC lacks \"cni.dev/valid-attachments\"")
    }
    guard !v.isNull else { return [] }
    guard let list = v.arrayValue else { throw wrongKind("cni.dev/valid-attachments", v, "array") }
    var out: Set<Attachment> = []
    for v in list {
      guard let o = v.objectValue else { throw wrongKind("cni.dev/valid-attachments", v, "object") }
      let id = try o.string("containerID") ?? ""
      out.insert(Attachment(containerID: id, ifname: try o.string("ifname") ?? ""))
    }
    return out
  }

  /// A line on standard error, which runtimes log.
  public func log(_ text: String) { host.log(text) }
}
