import NetTypes

extension Rule {
  /// The words behind `-A CHAIN`, in the order in which flannel gives them (contract flanneld §10.1): matches, comment,
  /// target.
  public var iptables: [String] {
    let said = comment.map { ["-m", "comment", "--comment", $0] } ?? []
    return matches.flatMap(\.iptables) + said + action.iptables
  }
}

extension Match {
  fileprivate var iptables: [String] {
    func not(_ inverted: Bool) -> [String] { inverted ? ["!"] : [] }
    return switch self {
    case .source(let p, let inverted): not(inverted) + ["-s", "\(p)"]
    case .destination(let p, let inverted): not(inverted) + ["-d", "\(p)"]
    case .mark(let value, let mask, let inverted):
      ["-m", "mark"] + not(inverted) + ["--mark", "\(value.hex)/\(mask.hex)"]
    case .transport(let p): ["-p", p.name]
    case .destinationPort(let p, let port): ["-p", p.name, "-m", p.name, "--dport", "\(port)"]
    case .destinationPorts(let p, let ports):
      ["-p", p.name, "-m", "multiport", "--destination-ports", ports.map { "\($0)" }.joined(separator: ",")]
    case .localDestination: ["-m", "addrtype", "--dst-type", "LOCAL"]
    case .inputInterface(let name, let inverted): not(inverted) + ["-i", name]
    case .outputInterface(let name, let inverted): not(inverted) + ["-o", name]
    case .sourceMAC(let mac): ["-m", "mac", "--mac-source", "\(mac)"]
    }
  }
}

extension Action {
  /// What follows `-j`: a verdict, a chain, an extension.
  var iptablesTarget: String { iptables.count > 1 ? iptables[1] : "" }

  fileprivate var iptables: [String] {
    switch self {
    case .accept: ["-j", "ACCEPT"]
    case .drop: ["-j", "DROP"]
    case .return: ["-j", "RETURN"]
    case .jump(let chain): ["-j", chain]
    case .goto(let chain): ["-g", chain]
    case .masquerade(let fullyRandom): ["-j", "MASQUERADE"] + (fullyRandom ? ["--random-fully"] : [])
    case .dnat(let address, let port):
      ["-j", "DNAT", "--to-destination", address.family == .ipv4 ? "\(address):\(port)" : "[\(address)]:\(port)"]
    case .setMark(let value, let mask): ["-j", "MARK", "--set-xmark", "\(value.hex)/\(mask.hex)"]
    }
  }
}

extension UInt32 {
  fileprivate var hex: String { "0x" + String(self, radix: 16) }
}
