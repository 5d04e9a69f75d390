"""The four jobs of every server of the bench."""

from accounts.models import UserSession, delete_user_sessions
from django.contrib.auth import get_user_model, login
from django.http import HttpResponse, JsonResponse
from django.urls import path


def log_in(request):
    user = get_user_model().objects.get(username=request.GET["user"])
    values = {"name": "Alice Example", "csrf": "w3q9Vb1k5Xc7r0T2y4u6i8o0p1a3s5d7", "cart": 3, "admin": False}
    request.session.update(values | {"seen": "2026-01-02T03:04:05Z"})
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("ok")


def for_user(job):
    def view(request):
        if not request.user.is_authenticated:
            return HttpResponse("nobody is logged in", status=401)
        return job(request)

    return view


def sessions(request):
    rows = UserSession.objects.filter(user=request.user).select_related("session")
    return JsonResponse([{"id": r.session_id, "expires": r.session.expire_date} for r in rows], safe=False)


def revoke(request):
    delete_user_sessions(request.user)
    return HttpResponse("ok")


urlpatterns = [
    path("login", log_in),
    path("me", for_user(lambda request: HttpResponse(request.user.username))),
    path("sessions", for_user(sessions)),
    path("revoke", for_user(revoke)),
]
