//! What stamps the functions of async crates.

/// Stamps the functions that lead to links, with their documentation, for one runtime.
///
/// - `crate`: the name of the crate, for examples.
/// - `runtime`: an expression of the type `&R`, where `R` is a [`Runtime`](crate::Runtime), a
///   [`TcpRuntime`](crate::TcpRuntime) and a [`UnixRuntime`](crate::UnixRuntime).
/// - `given`: the parameters in front of all others, where the caller brings the runtime: of
///   functions that need tasks and time, those that need TCP, and those that need Unix sockets. Then
///   such a parameter, and how it is handed on, for examples.
/// - `stream`: what an application's stream has to be, and the function that makes a
///   [`Transport`](crate::Transport) of it; `note` is what else there is to know about such streams.
/// - `send`: `[Send +]` where what the application hands in has to be.
/// - `own`: where it need not, what makes a function `Send` that stays in its thread, and what makes a
///   future so; else [`std::convert::identity`] for both.
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
        /// Cancel-safe: dropping the future gives the attempt and its connection up; the peer sees
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

        /// Connects over streams that `dial` opens: one now, and another whenever the link is to
        /// connect again. `dial` has to give up by itself when it takes too long.
        ///
        #[doc = $note]
        ///
        /// Cancel-safe as [`connect`]; what `dial` is about is dropped.
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

        /// Begins to connect as [`connect_with`] does, and gives what can be waited for, asked for
        /// its failures, hastened and given up.
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
        /// Where some of what the peer has sent since is already in a buffer, hand in the stream with
        /// that buffer: a buffered reader which passes writing on is a stream too.
        ///
        #[doc = $note]
        ///
        /// Cancel-safe as [`connect`]; the stream goes with the future.
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
        /// Cancel-safe: when the future is dropped, nobody listens.
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

        /// Makes links of the streams that `accept` gives, each with the address of its peer if it
        /// has one: for other transports than TCP and Unix sockets.
        ///
        #[doc = $note]
        ///
        /// An error of `accept` is followed by a pause, which grows to a second. It is dropped when
        /// the listener is closed.
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

    // A function that opens transports, of one that opens streams.
    (@open $dial:ident, $transport:expr, $own:expr, $own_future:expr) => {{
        let mut dial = $own($dial);
        move || {
            let dialing = $own_future(dial());
            async move { dialing.await.map($transport) }
        }
    }};
}

/// Stamps the functions that lead to secure streams, with their documentation. The parameters are
/// those of [`functions!`](crate::functions), and:
///
/// - `tcp`: the stream in the runtime's TCP transport, behind what it is generic over.
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
        /// Cancel-safe: dropping the future gives the connection up.
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

/// Stamps the methods of an async crate's secure stream. It has a field `inner`, which is a
/// [`secure::SecureStream`](crate::secure::SecureStream).
///
/// - `stream`: as for [`functions!`](crate::functions).
/// - `get_ref`: the stream in a transport, where that still has it.
/// - `timer`: a [`Timer`](crate::Timer) for closing, of a `&SecureStream<S>`.
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
                /// The stream below, for its addresses and settings.
                #[must_use]
                pub fn get_ref(&self) -> &S {
                    $get_ref(self.inner.transport())
                }
            )?

            #[doc = $crate::shared_doc!(secure_close)]
            ///
            /// Cancel-safe: called again, it goes on, with all of its time.
            ///
            #[doc = $crate::shared_doc!(secure_close_errors)]
            pub async fn close(&mut self) -> ::std::io::Result<()> {
                let mut timer = $timer(&*self);
                self.inner.close(&mut timer).await
            }
        }
    };
}

/// Stamps what a secure stream tells about itself, for [`secure_methods!`](crate::secure_methods) and
/// for streams that block. Their field `inner` is a
/// [`secure::SecureStream`](crate::secure::SecureStream).
#[macro_export]
macro_rules! secure_getters {
    () => {
        /// Which key the peer has; `None` on a plain stream, where nobody knows.
        #[must_use]
        pub fn peer(&self) -> ::core::option::Option<$crate::api::Fingerprint> {
            self.inner.peer()
        }

        /// What the application calls the peer, if its pins have a name; that of when it was let in.
        #[must_use]
        pub fn peer_name(&self) -> ::core::option::Option<&str> {
            self.inner.peer_name()
        }

        /// The peer's certificate in DER; `None` on a plain stream.
        #[must_use]
        pub fn peer_certificate(&self) -> ::core::option::Option<&[u8]> {
            self.inner.peer_certificate()
        }

        /// The cipher suite in use, for people to read; `None` on a plain stream.
        #[must_use]
        pub fn cipher(&self) -> ::core::option::Option<&'static str> {
            self.inner.cipher()
        }

        /// The protocol agreed on through ALPN, if the setup's security names any.
        #[must_use]
        pub fn protocol(&self) -> ::core::option::Option<&[u8]> {
            self.inner.protocol()
        }
    };
}
