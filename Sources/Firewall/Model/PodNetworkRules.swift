public import NetTypes

/// The rules by which pods reach the world and each other (contract flanneld §9–11): the same for iptables and nftables.
public struct PodNetworkRules: Hashable, Sendable {
  /// The mark of kube-proxy: its packets are masqueraded by kube-proxy itself.
  public static let kubeProxyMark: UInt32 = 0x4000

  /// The pod network of the cluster.
  public var network: IPPrefix
  /// The part of it that belongs to this node.
  public var pods: IPPrefix
  /// Source ports are chosen at random (`fully-random`), which avoids collisions of parallel connections.
  public var fullyRandom: Bool

  /// Every field as given; both prefixes are of one family.
  public init(network: IPPrefix, pods: IPPrefix, fullyRandom: Bool) {
    self.network = network.network
    self.pods = pods.network
    self.fullyRandom = fullyRandom
  }

  /// The address family of the network.
  public var family: AddressFamily { network.family }

  /// What happens to the source of a packet that leaves the host, in order:
  /// 1. marked by kube-proxy: left alone;
  /// 2. from a pod of this node to the network: pods see each other's addresses;
  /// 3. from the network to a pod of this node: replies and forwarded packets stay as they are;
  /// 4. from elsewhere to a pod of this node: pods see the client's address;
  /// 5. from the network to the world, except multicast: masqueraded;
  /// 6. from elsewhere to a pod of another node: masqueraded, so that the reply comes back through this host.
  public var masquerade: [Rule] {
    let masquerade = Action.masquerade(fullyRandom: fullyRandom)
    return [
      Rule([.mark(Self.kubeProxyMark, mask: Self.kubeProxyMark)], .return),
      Rule([.source(pods), .destination(network)], .return),
      Rule([.source(network), .destination(pods)], .return),
      Rule([.source(network, inverted: true), .destination(pods)], .return),
      Rule([.source(network), .destination(family.multicast, inverted: true)], masquerade),
      Rule([.source(network, inverted: true), .destination(network)], masquerade),
    ]
  }

  /// Packets from and to the network are forwarded, whatever the host's policy is.
  public var forward: [Rule] { [Rule([.source(network)], .accept), Rule([.destination(network)], .accept)] }
}
