import NetTypes
import Netlink
import Syscalls

/// The rules of the pod network on a node as the system's tools print them: nf_tables and iptables, whichever are there.
public struct RuleText: Hashable, Sendable {
  /// What one command printed.
  public struct Listing: Hashable, Sendable {
    /// The command, as it can be typed on the node.
    public var command: String
    /// The lines that belong to the pod network.
    public var lines: [String]
    /// The family of the rules.
    public var family: AddressFamily

    /// As printed.
    public init(command: String, lines: [String], family: AddressFamily) {
      self.command = command
      self.lines = lines
      self.family = family
    }
  }

  /// nf_tables first, then iptables; listings without a line are left out.
  public var listings: [Listing] = []

  /// Tables of the agent and of portmap by their family (contract flanneld §11.1, cni §B5).
  static func tables(_ family: AddressFamily) -> [String] {
    family == .ipv4 ? ["ip flannel-ipv4", "ip cni_hostport"] : ["ip6 flannel-ipv6", "ip6 cni_hostport"]
  }

  /// The words that print all iptables rules of a family, each with packets and bytes before it.
  static func save(_ family: AddressFamily) -> [String] {
    [family == .ipv4 ? "iptables-save" : "ip6tables-save", "-c"]
  }

  /// The rules of the agent and of portmap, and those that lead to them, among what `iptables-save -c` printed.
  static func ownRules(_ save: String) -> [String] {
    save.split(separator: "\n").filter { line in
      line.hasPrefix("[") && ["FLANNEL-", "CNI-"].contains { line.contains($0) }
    }.map(String.init)
  }

  /// A rule masquerades packets from the pod network.
  func masquerades(_ network: IPPrefix) -> Bool {
    has(network.family) { line in
      (line.contains("-s \(network) ") && line.contains("-j MASQUERADE"))
        || (line.contains("saddr \(network) ") && line.contains("masquerade"))
    }
  }

  /// A rule leads from the host port to another address.
  func translates(_ port: HostPort, _ family: AddressFamily) -> Bool {
    has(family) { line in
      (line.contains("-p \(port.transport) ") && line.contains("--dport \(port.host) ") && line.contains("-j DNAT"))
        || line.contains("\(port.transport) dport \(port.host) dnat ")
    }
  }

  private func has(_ family: AddressFamily, _ matches: (String) -> Bool) -> Bool {
    listings.contains { $0.family == family && $0.lines.contains(where: matches) }
  }
}

extension Lab {
  /// Reads the rules of a node. A tool that is not installed shows nothing.
  public func rules(of node: String, _ families: [AddressFamily]) throws -> RuleText {
    var text = RuleText()
    var socket = try NftSocket(in: NetworkNamespace(path: LabNames.path(names.namespace(node: node))))
    let present = Set(((try? socket.tables()) ?? []).map { "\($0.id.family.name) \($0.id.name)" })
    for family in families {
      for table in RuleText.tables(family) where present.contains(table) {
        let words = ["nft", "list", "table"] + table.split(separator: " ").map(String.init)
        let lines = try printed(words, on: node).split(separator: "\n").map { line in
          line.prefix { $0 == "\t" }.map { _ in "  " }.joined() + line.drop { $0 == "\t" }
        }
        text.add(words, lines, family)
      }
    }
    for family in families {
      let words = RuleText.save(family)
      text.add(words, RuleText.ownRules(try printed(words, on: node)), family)
    }
    return text
  }

  /// What a command prints on a node; nothing when it fails.
  private func printed(_ words: [String], on node: String) throws -> String {
    let output = try ChildProcess.run(program, enterWords(node) + ["--"] + words)
    return output.exit.isSuccess ? output.text : ""
  }
}

extension RuleText {
  fileprivate mutating func add(_ words: [String], _ lines: [String], _ family: AddressFamily) {
    guard !lines.isEmpty else { return }
    listings.append(Listing(command: words.joined(separator: " "), lines: lines, family: family))
  }
}
