import Firewall
import NetTypes

/// The names of the iptables layout, common to both families (contract cni §B5).
enum HostPortChain {
  static let dnat = "CNI-HOSTPORT-DNAT"
  static let setMark = "CNI-HOSTPORT-SETMARK"
  static let masquerade = "CNI-HOSTPORT-MASQ"
}

extension PortmapPlan {
  /// The container's own chain.
  var chain: String { RuleNames.chain(network, containerID, prefix: "DN-") }

  /// The rules that lead from the common chain to the container's, fifteen ports of one protocol each. They name all
  /// ports, also those that only the other family has.
  var entries: [[String]] {
    var out: [[String]] = []
    let all = configuration.mappings
    for transport in Set(all.map(\.transport.name)).sorted() {
      let ports = all.filter { $0.transport.name == transport }.map { "\($0.hostPort)" }
      for start in stride(from: 0, to: ports.count, by: 15) {
        let group = ports[start..<min(start + 15, ports.count)].joined(separator: ",")
        out.append(
          ["-m", "comment", "--comment", Self.entryComment(network, containerID), "-m", "multiport", "-p", transport]
            + ["--destination-ports", group] + conditions + ["-j", chain])
      }
    }
    return out
  }

  /// At most 255 characters, which is what iptables takes.
  static func entryComment(_ network: String, _ containerID: String) -> String {
    let text = "dnat name: \"\(network)\" id: \"\(containerID)\""
    guard text.utf8.count > 255 else { return text }
    return String(decoding: text.utf8.prefix(252), as: UTF8.self) + "..."
  }

  /// The rules of the container's chain.
  var chainRules: [[String]] {
    let mark = configuration.externalMarkChain ?? HostPortChain.setMark
    return mappings.flatMap { m in
      var base = ["-p", m.transport.name, "--dport", "\(m.hostPort)"]
      if let host = m.hostIP { base += ["-d", "\(host)"] }
      var out: [[String]] = []
      if configuration.snat {
        let source = configuration.masqueradesAll ? family.any : target
        out.append(base + ["-s", "\(source)", "-j", mark])
        if family == .ipv4, !configuration.masqueradesAll { out.append(base + ["-s", "127.0.0.1", "-j", mark]) }
      }
      out.append(base + ["-j", "DNAT", "--to-destination", endpoint(m)])
      return out
    }
  }

  /// Mark and masquerading are ours unless somebody else's chain does it.
  var masqueradesByMark: Bool { configuration.snat && configuration.externalMarkChain == nil }

  /// `0x2000/0x2000`
  private var maskedMark: String {
    let hex = "0x" + String(configuration.mark, radix: 16)
    return "\(hex)/\(hex)"
  }

  /// The common chains with their rules, and the rules that lead to them with the chain they are in.
  var commonChains: [(name: String, rules: [[String]])] {
    guard masqueradesByMark else { return [] }
    return [
      (
        HostPortChain.setMark,
        [["-m", "comment", "--comment", "CNI portfwd masquerade mark", "-j", "MARK", "--set-xmark", maskedMark]]
      ),
      (HostPortChain.masquerade, [["-m", "mark", "--mark", maskedMark, "-j", "MASQUERADE"]]),
    ]
  }

  /// What leads from the chains of the kernel to the common ones.
  static let localEntry = ["-m", "addrtype", "--dst-type", "LOCAL", "-j", HostPortChain.dnat]
  static let masqueradeEntry = [
    "-m", "comment", "--comment", "CNI portfwd requiring masquerade", "-j", HostPortChain.masquerade,
  ]
}
