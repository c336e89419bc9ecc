//! Macros that generate the functions of async crates.

/// Generates the functions that make links, with their documentation, for one runtime.
///
/// - `crate`: the name of the crate, for examples.
/// - `runtime`: an expression of the type `&R`, where `R` is a [`Runtime`](crate::Runtime), a
///   [`TcpRuntime`](crate::TcpRuntime) and a [`UnixRuntime`](crate::UnixRuntime).
/// - `given`: the leading parameters, where the caller passes the runtime: for functions that need
///   tasks and time, for those that need TCP, and for those that need Unix sockets. Then such a
///   parameter and the argument that passes it on, for examples.
/// - `stream`: the bounds on an application's stream, and the function that makes a
///   [`Transport`](crate::Transport) of it; `note` is further documentation of such streams.
/// - `send`: `[Send +]` where what the application passes in must be `Send`.
/// - `own`: where it need not be, the function that makes a `Send` function of one that stays in
///   its thread, and the function that does the same for a future; otherwise
///   [`std::convert::identity`] for both.
#[macro_export]
macro_rules! functions {
    (
        crate: $name:literal,
        runtime: $runtime:expr,
        given: [$($any:tt)*] [$($tcp:tt)*] [$($unix:tt)*] $given:literal $argument:literal,
        stream: [$($stream:tt)+] => $transport:expr,
        note: $note:literal,
        send: [$($send:tt)*],
        own: $own:expr, $own_future:expr $(,)?
    ) => {
        #[doc = $crate::shared_doc!(connect)]
        /// Cancel-safe: dropping the future abandons the attempt and its connection; the peer sees
        /// an error, or a link that ends without a message.
        ///
        #[doc = $crate::shared_doc!(connect_errors)]
        ///
        #[doc = $crate::shared_doc!(connect_example, $name, $given, $argument, "async ", ".await")]
        pub async fn connect(
            $($tcp)*
            address: impl ::core::convert::TryInto<
                $crate::Address,
                Error: ::core::convert::Into<$crate::AddressError>,
            >,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Link, $crate::LinkError> {
            $crate::entry::start_connect($runtime, address, setup)?.await
        }

        #[doc = $crate::shared_doc!(start_connect)]
        ///
        #[doc = $crate::shared_doc!(start_connect_errors)]
        pub fn start_connect(
            $($tcp)*
            address: impl ::core::convert::TryInto<
                $crate::Address,
                Error: ::core::convert::Into<$crate::AddressError>,
            >,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Connecting, $crate::LinkError> {
            $crate::entry::start_connect($runtime, address, setup)
        }

        #[doc = $crate::shared_doc!(connect_unix)]
        ///
        /// Cancel-safe as [`connect`].
        ///
        #[doc = $crate::shared_doc!(as_connect_errors)]
        #[cfg(unix)]
        pub async fn connect_unix(
            $($unix)*
            path: impl ::core::convert::Into<::std::path::PathBuf>,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Link, $crate::LinkError> {
            $crate::entry::start_connect_unix($runtime, path, setup)?.await
        }

        #[doc = $crate::shared_doc!(start_connect_unix)]
        ///
        #[doc = $crate::shared_doc!(start_errors)]
        #[cfg(unix)]
        pub fn start_connect_unix(
            $($unix)*
            path: impl ::core::convert::Into<::std::path::PathBuf>,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Connecting, $crate::LinkError> {
            $crate::entry::start_connect_unix($runtime, path, setup)
        }

        /// Connects over streams that `dial` opens: one now, and another for each reconnect.
        /// `dial` must apply its own time limit.
        ///
        #[doc = $note]
        ///
        /// Cancel-safe as [`connect`]; the future that `dial` returned is dropped.
        ///
        #[doc = $crate::shared_doc!(as_connect_errors)]
        pub async fn connect_with<S, F>(
            $($any)*
            dial: impl ::core::ops::FnMut() -> F + $($send)* 'static,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Link, $crate::LinkError>
        where
            S: $($stream)+,
            F: ::core::future::Future<Output = ::std::io::Result<S>> + $($send)* 'static,
        {
            let open = $crate::functions!(@open dial, $transport, $own, $own_future);
            $crate::entry::start_connect_with($runtime, open, setup)?.await
        }

        /// Begins to connect as [`connect_with`] does, and returns a handle to wait for the link,
        /// to inspect failed attempts, to retry at once and to cancel.
        ///
        #[doc = $crate::shared_doc!(start_errors)]
        pub fn start_connect_with<S, F>(
            $($any)*
            dial: impl ::core::ops::FnMut() -> F + $($send)* 'static,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Connecting, $crate::LinkError>
        where
            S: $($stream)+,
            F: ::core::future::Future<Output = ::std::io::Result<S>> + $($send)* 'static,
        {
            let open = $crate::functions!(@open dial, $transport, $own, $own_future);
            $crate::entry::start_connect_with($runtime, open, setup)
        }

        #[doc = $crate::shared_doc!(pair)]
        ///
        /// Cancel-safe as [`connect`].
        ///
        #[doc = $crate::shared_doc!(as_connect_errors)]
        pub async fn pair(
            $($any)*
            opener: &$crate::Setup,
            acceptor: &$crate::Setup,
        ) -> ::core::result::Result<($crate::Link, $crate::Link), $crate::LinkError> {
            $crate::entry::pair($runtime, opener, acceptor).await
        }

        #[doc = $crate::shared_doc!(link_over)]
        /// If a buffer already holds bytes that the peer has sent since, pass the stream with that
        /// buffer: a buffered reader that forwards writes is a stream too.
        ///
        #[doc = $note]
        ///
        /// Cancel-safe as [`connect`]; the stream is dropped with the future.
        ///
        #[doc = $crate::shared_doc!(as_connect_errors)]
        pub async fn link_over<S>(
            $($any)*
            stream: S,
            role: $crate::api::Role,
            setup: &$crate::Setup,
        ) -> ::core::result::Result<$crate::Link, $crate::LinkError>
        where
            S: $($stream)+,
        {
            $crate::entry::start_over($runtime, $transport(stream), role, setup)?.await
        }

        #[doc = $crate::shared_doc!(listen)]
        ///
        /// Cancel-safe: when the future is dropped, nothing listens.
        ///
        #[doc = $crate::shared_doc!(listen_errors)]
        ///
        #[doc = $crate::shared_doc!(listen_example, $name, $given, $argument, "async ", ".await")]
        pub async fn listen(
            $($tcp)*
            address: impl ::core::convert::TryInto<
                $crate::Address,
                Error: ::core::convert::Into<$crate::AddressError>,
            >,
            setup: $crate::Setup,
        ) -> ::std::io::Result<$crate::Listener> {
            let limits = $crate::Limits::default();
            $crate::entry::listen($runtime, address, setup, limits).await
        }

        #[doc = $crate::shared_doc!(listen_with)]
        ///
        /// Cancel-safe as [`listen`].
        ///
        #[doc = $crate::shared_doc!(as_listen_errors)]
        pub async fn listen_with(
            $($tcp)*
            address: impl ::core::convert::TryInto<
                $crate::Address,
                Error: ::core::convert::Into<$crate::AddressError>,
            >,
            setup: $crate::Setup,
            limits: $crate::Limits,
        ) -> ::std::io::Result<$crate::Listener> {
            $crate::entry::listen($runtime, address, setup, limits).await
        }

        #[doc = $crate::shared_doc!(listen_unix)]
        #[cfg(unix)]
        pub async fn listen_unix(
            $($unix)*
            path: impl ::core::convert::Into<::std::path::PathBuf>,
            setup: $crate::Setup,
            limits: $crate::Limits,
        ) -> ::std::io::Result<$crate::Listener<::std::path::PathBuf>> {
            $crate::entry::listen_unix($runtime, path, setup, limits)
        }

        /// Makes links of the streams that `accept` returns, each with the address of its peer if
        /// it has one: for transports other than TCP and Unix sockets.
        ///
        #[doc = $note]
        ///
        /// After an error of `accept` the listener pauses, for up to a second as errors repeat.
        /// `accept` is dropped when the listener is closed.
        #[must_use]
        pub fn listen_over<S, F>(
            $($any)*
            accept: impl ::core::ops::FnMut() -> F + $($send)* 'static,
            setup: $crate::Setup,
            limits: $crate::Limits,
        ) -> $crate::Listener<()>
        where
            S: $($stream)+,
            F: ::core::future::Future<
                    Output = ::std::io::Result<(S, ::core::option::Option<::std::net::SocketAddr>)>,
                > + $($send)* 'static,
        {
            let mut accept = $own(accept);
            let accept = move || {
                let accepting = $own_future(accept());
                async move {
                    let (stream, peer) = accepting.await?;
                    Ok(($transport(stream), peer))
                }
            };
            $crate::entry::listen_over($runtime, accept, setup, limits)
        }
    };

    // Makes a function that opens transports of one that opens streams.
    (@open $dial:ident, $transport:expr, $own:expr, $own_future:expr) => {{
        let mut dial = $own($dial);
        move || {
            let dialing = $own_future(dial());
            async move { dialing.await.map($transport) }
        }
    }};
}

/// Generates the functions that make secure streams, with their documentation. The parameters are
/// those of [`functions!`](crate::functions), and:
///
/// - `tcp`: the generic parameters, then the stream in the runtime's TCP transport.
/// - `secured`: a function that makes the crate's `SecureStream<S>` of the runtime and a
///   [`secure::SecureStream`](crate::secure::SecureStream).
#[macro_export]
macro_rules! secure_functions {
    (
        runtime: $runtime:expr,
        given: [$($any:tt)*] [$($tcp:tt)*],
        tcp: [$($generic:tt)*] $connection:ty,
        stream: [$($stream:tt)+] => $transport:expr,
        note: $note:literal,
        secured: $secured:expr $(,)?
    ) => {
        #[doc = $crate::shared_doc!(secure_connect)]
        ///
        /// Cancel-safe: dropping the future drops the connection.
        ///
        #[doc = $crate::shared_doc!(secure_connect_errors)]
        pub async fn secure_connect<$($generic)*>(
            $($tcp)*
            address: impl ::core::convert::TryInto<
                $crate::Address,
                Error: ::core::convert::Into<$crate::AddressError>,
            >,
            setup: &$crate::StreamSetup,
        ) -> ::std::io::Result<SecureStream<$connection>> {
            let limit = setup.handshake();
            let transport = $crate::entry::open_tcp($runtime, address, limit).await?;
            let role = $crate::api::Role::Opener;
            let inner = $crate::entry::secure_over($runtime, transport, role, setup, &[]).await?;
            Ok($secured($runtime, inner))
        }

        #[doc = $crate::shared_doc!(secure_over)]
        ///
        #[doc = $note]
        ///
        /// Dropping the future drops the stream.
        ///
        #[doc = $crate::shared_doc!(secure_over_errors)]
        pub async fn secure_over<S>(
            $($any)*
            stream: S,
            role: $crate::api::Role,
            setup: &$crate::StreamSetup,
        ) -> ::std::io::Result<SecureStream<S>>
        where
            S: $($stream)+,
        {
            let transport = $transport(stream);
            let inner = $crate::entry::secure_over($runtime, transport, role, setup, &[]).await?;
            Ok($secured($runtime, inner))
        }

        #[doc = $crate::shared_doc!(secure_over_with)]
        pub async fn secure_over_with<S>(
            $($any)*
            stream: S,
            role: $crate::api::Role,
            setup: &$crate::StreamSetup,
            already_read: &[u8],
        ) -> ::std::io::Result<SecureStream<S>>
        where
            S: $($stream)+,
        {
            let transport = $transport(stream);
            let inner =
                $crate::entry::secure_over($runtime, transport, role, setup, already_read).await?;
            Ok($secured($runtime, inner))
        }
    };
}

/// Generates the methods of an async crate's secure stream, whose field `inner` is a
/// [`secure::SecureStream`](crate::secure::SecureStream).
///
/// - `stream`: as for [`functions!`](crate::functions).
/// - `get_ref`: a function that returns the stream in a transport, for transports that keep it.
/// - `timer`: a function that makes a [`Timer`](crate::Timer) for closing of a `&SecureStream<S>`.
#[macro_export]
macro_rules! secure_methods {
    (
        stream: [$($stream:tt)+],
        $(get_ref: $get_ref:expr,)?
        timer: $timer:expr $(,)?
    ) => {
        impl<S: $($stream)+> SecureStream<S> {
            $crate::secure_getters!();

            $(
                /// Returns the underlying stream, for its addresses and settings.
                #[must_use]
                pub fn get_ref(&self) -> &S {
                    $get_ref(self.inner.transport())
                }
            )?

            #[doc = $crate::shared_doc!(secure_close)]
            ///
            /// Cancel-safe: a further call continues, with the full time limit.
            ///
            #[doc = $crate::shared_doc!(secure_close_errors)]
            pub async fn close(&mut self) -> ::std::io::Result<()> {
                let mut timer = $timer(&*self);
                self.inner.close(&mut timer).await
            }
        }
    };
}

/// Generates the getters of a secure stream, for [`secure_methods!`](crate::secure_methods) and for
/// blocking streams. Their field `inner` is a
/// [`secure::SecureStream`](crate::secure::SecureStream).
#[macro_export]
macro_rules! secure_getters {
    () => {
        /// Returns the fingerprint of the peer's key; `None` on a plain stream, where it is
        /// unknown.
        #[must_use]
        pub fn peer(&self) -> ::core::option::Option<$crate::api::Fingerprint> {
            self.inner.peer()
        }

        /// Returns the peer's name, if its pins have one, as it was when the peer was accepted.
        #[must_use]
        pub fn peer_name(&self) -> ::core::option::Option<&str> {
            self.inner.peer_name()
        }

        /// Returns the peer's certificate in DER; `None` on a plain stream.
        #[must_use]
        pub fn peer_certificate(&self) -> ::core::option::Option<&[u8]> {
            self.inner.peer_certificate()
        }

        /// Returns the name of the cipher suite in use, for display; `None` on a plain stream.
        #[must_use]
        pub fn cipher(&self) -> ::core::option::Option<&'static str> {
            self.inner.cipher()
        }

        /// Returns the protocol agreed on through ALPN, if the setup's security names any.
        #[must_use]
        pub fn protocol(&self) -> ::core::option::Option<&[u8]> {
            self.inner.protocol()
        }
    };
}
